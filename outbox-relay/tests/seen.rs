//! What operators see: every metric that the dashboard and the alerts name is one that a relay has.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use outbox_relay::Settings;
use testkit::TestDb;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);

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

fn deployed(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(name);
    std::fs::read_to_string(path).unwrap()
}

async fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_dashboard_and_alerts_is_one_that_a_relay_has() {
    let (database, prefix) = (TestDb::new("seen").await, testkit::topic_prefix());
    let topic = format!("{prefix}events");
    testkit::kafka::create_topics(&[&topic], 1).await;
    sqlx::query(
        "insert into oncebox.outbox (event_id, topic, key, payload)
         select gen_random_uuid(), $1, 'k', 'v' from generate_series(1, 10)",
    )
    .bind(&topic)
    .execute(database.pool())
    .await
    .unwrap();
    let address = format!("127.0.0.1:{}", testkit::free_port());
    let mut settings: Settings = toml::from_str(outbox_relay::DEFAULTS).unwrap();
    settings.kafka = testkit::kafka_address();
    settings.topic_prefix = prefix;
    settings.http_address.clone_from(&address);
    settings.sources = BTreeMap::from([("seen".to_owned(), database.url().into())]);
    let shutdown = CancellationToken::new();
    let relay = tokio::spawn(outbox_relay::run(settings, shutdown.clone()));

    let wanted: BTreeSet<String> = ["grafana/relay.json", "prometheus/relay.rules.yml"]
        .iter()
        .flat_map(|name| metrics_in(&deployed(name)))
        .collect();
    assert!(wanted.len() > 10, "{wanted:?}");
    let seen = testkit::eventually(
        "ten published rows and a round of maintenance",
        PATIENCE,
        async || {
            let text = get(&address, "/metrics").await?;
            let done = text
                .contains("oncebox_relay_published_rows_total{source=\"seen\",shard=\"0\"} 10")
                && text.contains("oncebox_relay_partitions{")
                && text.contains("oncebox_relay_pending_rows{");
            done.then_some(text)
        },
    )
    .await;
    assert!(
        seen.contains(
            "oncebox_relay_source_state{source=\"seen\",shard=\"0\",state=\"running\"} 1"
        ),
        "{seen}"
    );
    let present = metrics_in(&seen);
    let missing: Vec<_> = wanted.difference(&present).collect();
    assert!(
        missing.is_empty(),
        "named in deploy/, unknown to a relay: {missing:?}"
    );
    let undescribed: Vec<_> = present
        .iter()
        .filter(|name| name.starts_with("oncebox_relay_"))
        .filter(|name| !seen.contains(&format!("# HELP {name} ")))
        .collect();
    assert!(
        undescribed.is_empty(),
        "without a description: {undescribed:?}"
    );
    shutdown.cancel();
    relay.await.unwrap().unwrap();
}

#[test]
fn the_dashboard_is_json_with_a_query_in_each_panel() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&deployed("grafana/relay.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 8);
    for panel in panels {
        let query = panel["targets"][0]["expr"].as_str().unwrap();
        assert!(!metrics_in(query).is_empty(), "{}", panel["title"]);
    }
}
