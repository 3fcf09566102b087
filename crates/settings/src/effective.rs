//! The configuration in force, as `--check-config` prints it.

use std::fmt::Write;

use serde::Serialize;

use crate::{load::Sources, mask::mask};

/// The settings as TOML, one key a line, secrets masked. What is printed can serve as a configuration file again,
/// once the masked values are filled in.
#[must_use]
pub fn effective<T: Serialize>(settings: &T) -> String {
    print(settings, None)
}

/// As [`effective`], each line ending with where its value came from.
pub(crate) fn print<T: Serialize>(settings: &T, sources: Option<&Sources>) -> String {
    let mut text = String::new();
    match toml::Value::try_from(settings) {
        Ok(value) => lines(&mut text, "", &value, sources),
        // A struct that TOML cannot express is a slip of the service's author, not of who configures it.
        Err(error) => text = format!("# cannot be shown as TOML: {error}\n"),
    }
    text
}

fn lines(text: &mut String, path: &str, value: &toml::Value, sources: Option<&Sources>) {
    match value {
        toml::Value::Table(table) if !table.is_empty() || path.is_empty() => {
            for (key, value) in table {
                let key = if bare(key) {
                    key.clone()
                } else {
                    toml::Value::from(key.as_str()).to_string()
                };
                let path = if path.is_empty() {
                    key
                } else {
                    format!("{path}.{key}")
                };
                lines(text, &path, value, sources);
            }
        }
        value => {
            let shown = masked(path, value);
            let origin = sources.and_then(|sources| sources.origin(path));
            let origin = origin
                .map(|origin| format!("  # {origin}"))
                .unwrap_or_default();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{path} = {shown}{origin}");
        }
    }
}

fn masked(path: &str, value: &toml::Value) -> toml::Value {
    match value {
        toml::Value::String(value) => mask(path, value).into(),
        toml::Value::Array(items) => {
            toml::Value::Array(items.iter().map(|item| masked(path, item)).collect())
        }
        other => other.clone(),
    }
}

fn bare(key: &str) -> bool {
    !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}
