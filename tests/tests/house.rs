//! The house's own rules, where a compiler does not check them: heads, file names, a page for each error code.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Every Rust file under the folders' `src`, with its text.
fn sources() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders: Vec<_> = [
        "schemas",
        "crates",
        "outbox-relay",
        "dlq-replayer",
        "services",
        "dev",
        "tests",
        "bench",
    ]
    .map(|name| root().join(name))
    .into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.insert(path, text);
            }
        }
    }
    assert!(found.len() > 100, "the sources were found");
    found
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|(path, _)| path.components().any(|part| part.as_os_str() == "src"))
        .filter(|(_, text)| !text.lines().take(5).any(|line| line.starts_with("//!")))
        .map(|(path, _)| path)
        .collect();
    assert!(silent.is_empty(), "without a //! head: {silent:#?}");
}

#[test]
fn no_file_is_called_mod_rs_and_none_is_endless() {
    for (path, text) in sources() {
        assert!(
            !path.ends_with("mod.rs"),
            "{}: name it after its module",
            path.display()
        );
        let lines = text.lines().count();
        assert!(
            lines <= limit(&path),
            "{}: {lines} lines; which second room is hiding in it?",
            path.display()
        );
    }
}

/// Tests may tell a longer story.
fn limit(path: &Path) -> usize {
    if path.components().any(|part| part.as_os_str() == "tests") {
        800
    } else {
        500
    }
}

/// `outbox.payload_too_large` and its like, wherever code names an error.
fn codes_in(text: &str) -> Vec<&str> {
    let marks = [
        "=> \"",
        "code: \"",
        "code = \"",
        "Permanent, \"",
        "Transient, \"",
        "Outage, \"",
        "Poison, \"",
    ];
    let mut codes = Vec::new();
    for line in text.lines() {
        for mark in marks {
            let Some((_, rest)) = line.split_once(mark) else {
                continue;
            };
            let Some((code, _)) = rest.split_once('"') else {
                continue;
            };
            let parts: Vec<_> = code.split('.').collect();
            let named = |part: &&str| {
                !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            };
            if parts.len() == 2 && parts.iter().all(named) {
                codes.push(code);
            }
        }
    }
    codes
}

#[test]
fn every_error_code_has_a_page() {
    let mut missing = BTreeMap::new();
    let mut seen = 0;
    for (path, text) in sources() {
        let product = !path.components().any(|part| part.as_os_str() == "tests");
        if product
            && (text.contains("fn code(")
                || text.contains("Failure::new")
                || text.contains("code: \""))
        {
            let own_tests = text.find("#[cfg(test)]").unwrap_or(text.len());
            // The codes of examples are their users' own.
            let lines = text[..own_tests].lines();
            let code_lines: Vec<&str> = lines
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            for code in codes_in(&code_lines.join("\n")) {
                seen += 1;
                if !root()
                    .join("docs/errors")
                    .join(format!("{code}.md"))
                    .exists()
                {
                    missing.insert(code.to_owned(), path.clone());
                }
            }
        }
    }
    assert!(
        seen > 30,
        "only {seen} codes were found: the search is broken"
    );
    assert!(
        missing.is_empty(),
        "codes without a page in docs/errors: {missing:#?}"
    );
}

#[test]
fn the_search_for_codes_finds_them() {
    assert_eq!(
        codes_in("Self::A => \"outbox.too_large\","),
        ["outbox.too_large"]
    );
    assert_eq!(
        codes_in("Failure::new(ErrorClass::Permanent, \"a.b\", x)"),
        ["a.b"]
    );
    assert!(codes_in("Self::A => \"plain\",").is_empty());
}
