//! A relay at rest is woken by a service that writes with the kit, and finds everything without being woken.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use oncebox::{Codec, Outbox};
use outbox_relay::{Relay, Settings};
use testkit::TestDb;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Noted {
    text: String,
}

oncebox::event! {
    Noted = "relay.test.Noted" on "notes" keyed by |event| event.text.clone(),
    schema r#"{"type":"record","name":"Noted","namespace":"relay.test","fields":[{"name":"text","type":"string"}]}"#
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_ends_a_long_rest() {
    let (database, prefix) = (TestDb::new("wake").await, testkit::topic_prefix());
    let topic = format!("{prefix}notes");
    testkit::kafka::create_topics(&[&topic], 1).await;
    let mut settings: Settings = toml::from_str(outbox_relay::DEFAULTS).unwrap();
    settings.kafka = testkit::kafka_address();
    settings.topic_prefix.clone_from(&prefix);
    settings.sources = BTreeMap::from([("wake".to_owned(), database.url().into())]);
    // Without being woken it would find a row in this many milliseconds.
    settings.poll_max_ms = 45_000;
    settings.poll_min_ms = 45_000;
    let shutdown = CancellationToken::new();
    let relay = Relay::start(settings, &shutdown).unwrap();
    let codec = Codec::new(&testkit::registry_address(), Some(database.pool().clone())).unwrap();
    let outbox = Outbox::new(codec, "wake", &prefix);
    // It rests when it runs and listens.
    testkit::eventually("a listener", PATIENCE, async || {
        let listens: bool = sqlx::query_scalar(
            "select exists (select from pg_stat_activity where datname = current_database() and query ilike 'listen%')",
        )
        .fetch_one(database.pool())
        .await
        .unwrap();
        let running = relay.shared()[0].status().state.name() == "running";
        (listens && running).then_some(())
    })
    .await;
    let started = Instant::now();
    let mut written = 0;
    testkit::eventually("a row in time", PATIENCE, async || {
        // The first look after starting may still be under way when the first row is written.
        let mut tx = database.pool().begin().await.unwrap();
        let note = Noted { text: "a".into() };
        outbox.append(&mut tx, &note).await.unwrap();
        tx.commit().await.unwrap();
        written += 1;
        (!testkit::kafka::read_committed(&topic).await.is_empty()).then_some(())
    })
    .await;
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{:?} for {written} rows: it was not woken",
        started.elapsed()
    );
    shutdown.cancel();
    relay.ended().await;
}
