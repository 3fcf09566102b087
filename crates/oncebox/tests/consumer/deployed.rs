//! What operators see: every metric that the consumer's dashboard and alerts name is one that a consumer has.

use std::collections::BTreeSet;
use std::path::Path;

const HAPPENINGS: [&str; 5] = [
    include_str!("../../src/consumer/happening.rs"),
    include_str!("../../src/consumer/happening/flood.rs"),
    include_str!("../../src/consumer/happening/inbox.rs"),
    include_str!("../../src/consumer/happening/parking.rs"),
    include_str!("../../src/consumer/happening/sequence.rs"),
];

fn deployed(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy")
        .join(name);
    std::fs::read_to_string(path).unwrap()
}

/// `oncebox_…` names in a text, without what Prometheus adds to a histogram's.
fn metrics_in(text: &str) -> BTreeSet<String> {
    text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'))
        .filter(|word| word.starts_with("oncebox_"))
        .map(|word| {
            ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| word.strip_suffix(suffix))
                .unwrap_or(word)
                .to_owned()
        })
        .collect()
}

#[test]
fn every_metric_of_dashboard_and_alerts_is_one_that_a_consumer_has() {
    let present: BTreeSet<String> = HAPPENINGS
        .iter()
        .flat_map(|text| metrics_in(text))
        .collect();
    for name in ["grafana/consumer.json", "prometheus/consumer.rules.yml"] {
        let wanted = metrics_in(&deployed(name));
        assert!(wanted.len() >= 4, "{name}: {wanted:?}");
        assert!(wanted.contains("oncebox_consumer_flood_guard_closed"));
        let missing: Vec<_> = wanted.difference(&present).collect();
        assert!(missing.is_empty(), "{name} names {missing:?}");
    }
}

#[test]
fn the_dashboard_is_json_with_a_query_in_each_panel() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&deployed("grafana/consumer.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 8);
    for panel in panels {
        let query = panel["targets"][0]["expr"].as_str().unwrap();
        assert!(!metrics_in(query).is_empty(), "{}", panel["title"]);
    }
}
