//! What is accepted, what wins, and what the refusals say.

use std::{collections::BTreeMap, io::Write};

use serde::{Deserialize, Serialize};

use super::*;
use crate::effective;

const DEFAULTS: &str = r#"
http_address = "127.0.0.1:8081"
database_url = "postgres://oncebox:hunter2@127.0.0.1/order"
token = ""
workers = 4
eager = false
format = "auto"
[retry]
retries = 5
factor = 2.0
[sources]
"#;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    http_address: String,
    database_url: String,
    token: String,
    workers: u16,
    eager: bool,
    format: Format,
    comment: Option<String>,
    retry: Retry,
    sources: BTreeMap<String, String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Auto,
    Json,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Retry {
    retries: u32,
    factor: f64,
}

fn read(
    file: Option<&str>,
    environment: &[(&str, &str)],
) -> Result<(Settings, Sources), SettingsError> {
    let mut on_disk = tempfile::Builder::new().suffix(".conf").tempfile().unwrap();
    on_disk
        .write_all(file.unwrap_or_default().as_bytes())
        .unwrap();
    let variables = environment
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let sources = Sources::read(DEFAULTS, file.map(|_| on_disk.path()), variables)?;
    Ok((sources.settings("order")?, sources))
}

fn refused(file: Option<&str>, environment: &[(&str, &str)]) -> Vec<Refused> {
    match read(file, environment) {
        Err(SettingsError::Refused { refused, .. }) => refused,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let file = "workers = 8\n[retry]\nretries = 7\nfactor = 3\n";
    let (settings, sources) = read(Some(file), &[("ONCEBOX_RETRY__RETRIES", "9")]).unwrap();
    assert_eq!(
        (
            settings.workers,
            settings.retry.retries,
            settings.retry.factor
        ),
        (8, 9, 3.0)
    );
    assert_eq!(settings.http_address, "127.0.0.1:8081");
    assert_eq!(
        sources.origin("http_address").as_deref(),
        Some("built-in defaults")
    );
    assert!(sources.origin("workers").unwrap().ends_with(".conf"));
    assert_eq!(
        sources.origin("retry.retries").as_deref(),
        Some("environment variable ONCEBOX_RETRY__RETRIES")
    );
}

#[test]
fn variables_become_what_the_setting_is() {
    let (settings, _) = read(
        None,
        &[
            ("ONCEBOX_WORKERS", "12"),
            ("ONCEBOX_EAGER", "true"),
            ("ONCEBOX_TOKEN", "0123456789"),
            ("ONCEBOX_FORMAT", "json"),
            ("ONCEBOX_COMMENT", "yes"),
            ("ONCEBOX_RETRY__FACTOR", "1.5"),
            ("ONCEBOX_SOURCES__ORDER", "postgres://db/order?a=b#c"),
            ("ONCEBOX_SOURCES__STOCK", "postgres://db/stock"),
        ],
    )
    .unwrap();
    assert_eq!(
        (settings.workers, settings.eager, settings.format),
        (12, true, Format::Json)
    );
    assert_eq!(
        settings.token, "0123456789",
        "digits keep their zeroes where text is wanted"
    );
    assert_eq!(
        (settings.comment.as_deref(), settings.retry.factor),
        (Some("yes"), 1.5)
    );
    assert_eq!(settings.sources["order"], "postgres://db/order?a=b#c");
    assert_eq!(settings.sources["stock"], "postgres://db/stock");
}

#[test]
fn every_unknown_key_is_named_with_its_origin_and_the_nearest_known_one() {
    let found = refused(
        Some("wrokers = 3\n[retry]\nretrys = 1\n"),
        &[("ONCEBOX_DATABSE_URL", "x")],
    );
    let mut lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    lines.sort();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert_eq!(
        lines[0],
        "databse_url: unknown key; did you mean database_url? (set by environment variable ONCEBOX_DATABSE_URL)"
    );
    assert!(
        lines[1].starts_with("retry.retrys: unknown key; did you mean retry.retries? (set by /"),
        "{}",
        lines[1]
    );
    assert!(
        lines[2].starts_with("wrokers: unknown key; did you mean workers? (set by /"),
        "{}",
        lines[2]
    );
}

#[test]
fn variables_of_the_runner_of_tests_and_of_other_services_are_left_alone() {
    let others = [
        ("ONCEBOX_DEV_DIR", "x"),
        ("ONCEBOX_TEST_KEEP", "1"),
        ("ONCEBOX_KAFKA", "broker:9092"),
        ("PATH", "/bin"),
    ];
    assert!(read(None, &others).is_ok());
    let found = refused(Some("kafka = \"broker:9092\""), &[]);
    assert_eq!(
        found[0].key, "kafka",
        "in a file of this service it is a mistake"
    );
}

#[test]
fn a_value_of_the_wrong_kind_is_explained() {
    let found = refused(None, &[("ONCEBOX_WORKERS", "many")]);
    assert_eq!((found.len(), found[0].key.as_str()), (1, "workers"));
    assert_eq!(
        found[0].origin.as_deref(),
        Some("environment variable ONCEBOX_WORKERS")
    );
    assert!(
        found[0].reason.contains("\"many\"") && found[0].reason.contains("integer"),
        "{}",
        found[0].reason
    );

    let found = refused(None, &[("ONCEBOX_FORMAT", "xml")]);
    assert!(found[0].to_string().contains("xml"), "{}", found[0]);
    assert_eq!(found[0].key, "format");

    for (name, value) in [
        ("ONCEBOX_WORKERS", "-1"),
        ("ONCEBOX_WORKERS", "70000"),
        ("ONCEBOX_RETRY", "5"),
        ("ONCEBOX_WORKERS__X", "1"),
    ] {
        let found = refused(None, &[(name, value)]);
        assert_eq!(found.len(), 1, "{name}={value}: {found:?}");
        assert!(
            found[0]
                .origin
                .as_deref()
                .is_some_and(|origin| origin.contains(name)),
            "{}",
            found[0]
        );
    }
}

#[test]
fn a_missing_setting_says_how_to_set_it() {
    let sources = Sources::read("[retry]\nfactor = 2.0", None, []).unwrap();
    let Err(SettingsError::Refused { refused, .. }) = sources.settings::<Settings>("order") else {
        panic!()
    };
    assert!(refused[0].reason.contains("ONCEBOX_"), "{}", refused[0]);
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let error = Sources::read(DEFAULTS, Some(Path::new("/nowhere/order.toml")), [])
        .map(|_| ())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("configuration file /nowhere/order.toml cannot be read: "),
        "{error}"
    );
    let error = read(Some("workers = = 3"), &[]).map(|_| ()).unwrap_err();
    assert_eq!(error.code(), "settings.file_invalid");
    assert!(
        error.to_string().contains(".conf is not valid TOML")
            && error.to_string().contains("line 1"),
        "{error}"
    );
}

#[test]
fn odd_variable_names_are_refused_not_swallowed() {
    for name in [
        "ONCEBOX_",
        "ONCEBOX_RETRY__",
        "ONCEBOX___RETRIES",
        "ONCEBOX_RETRY____RETRIES",
        "ONCEBOX_A-B",
        "ONCEBOX_A.B",
    ] {
        let found = refused(None, &[(name, "1")]);
        assert!(!found.is_empty(), "{name}");
    }
}

#[test]
fn the_effective_configuration_reads_back_and_shows_no_secret() {
    let (settings, sources) = read(
        Some("comment = \"a \\\"b\\\"\""),
        &[
            ("ONCEBOX_TOKEN", "s3cret"),
            ("ONCEBOX_SOURCES__ORDER", "postgres://u:s3cret@db/o"),
        ],
    )
    .unwrap();
    let shown = effective::print(&settings, Some(&sources));
    assert!(
        !shown.contains("s3cret") && !shown.contains("hunter2"),
        "{shown}"
    );
    assert!(
        shown.contains("token = \"***\"  # environment variable ONCEBOX_TOKEN\n"),
        "{shown}"
    );
    assert!(shown.contains("sources.order = \"postgres://u:***@db/o\"  # environment variable ONCEBOX_SOURCES__ORDER\n"), "{shown}");
    assert!(
        shown.contains("workers = 4  # built-in defaults\n"),
        "{shown}"
    );
    let again: Settings = Sources::read(&shown, None, [])
        .unwrap()
        .settings("order")
        .unwrap();
    assert_eq!(
        (again.workers, again.comment),
        (settings.workers, settings.comment)
    );
}

#[test]
fn the_built_in_example_of_the_help_is_complete() {
    assert!(
        effective(&Retry {
            retries: 1,
            factor: 2.0
        })
        .contains("retries = 1\n")
    );
}
