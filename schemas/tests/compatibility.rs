//! Holds every schema to what was published before, and to the Rust type beside it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use apache_avro::Schema;
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};
use schemas::registration;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn published(name: &str) -> Vec<(u32, String)> {
    let mut versions: Vec<_> = std::fs::read_dir(folder("history").join(name))
        .unwrap_or_else(|error| panic!("schemas/history/{name}: {error}"))
        .map(|entry| {
            let path = entry.unwrap().path();
            let version = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            (version, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    versions.sort();
    versions
}

fn full(a: &Schema, b: &Schema) -> bool {
    SchemaCompatibility::mutual_read(a, b) == Ok(Compatibility::Full)
}

#[test]
fn every_file_is_an_event_and_every_event_a_file() {
    let files: BTreeSet<String> = std::fs::read_dir(folder("avro"))
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let events: BTreeSet<String> = registration::all()
        .into_iter()
        .map(|event| event.name.to_owned())
        .collect();
    assert_eq!(files, events);
}

#[test]
fn every_schema_is_full_transitive_with_its_history() {
    for event in registration::all() {
        let versions = published(event.name);
        for (version, text) in &versions {
            let old = Schema::parse_str(text).unwrap();
            assert!(
                full(event.schema.avro(), &old),
                "{} and its version {version} do not read each other",
                event.name
            );
        }
        let (version, newest) = versions.last().unwrap();
        assert_eq!(
            Schema::parse_str(newest).unwrap().canonical_form(),
            event.schema.avro().canonical_form(),
            "{} was changed: add it as schemas/history/{}/{}.avsc",
            event.name,
            event.name,
            version + 1,
        );
    }
}

/// The check above can fail: it tells apart a field with a default from one without.
#[test]
fn the_check_refuses_a_field_without_default() {
    let old = Schema::parse_str(
        r#"{"type":"record","name":"A","fields":[{"name":"a","type":"string"}]}"#,
    )
    .unwrap();
    let good = r#"{"type":"record","name":"A","fields":[{"name":"a","type":"string"},{"name":"b","type":["null","string"],"default":null}]}"#;
    let bad = r#"{"type":"record","name":"A","fields":[{"name":"a","type":"string"},{"name":"b","type":"string"}]}"#;
    assert!(full(&old, &Schema::parse_str(good).unwrap()));
    assert!(!full(&old, &Schema::parse_str(bad).unwrap()));
}
