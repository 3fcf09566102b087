//! Rows and tables as nobody should write them: a clear word about what is wrong, and nothing lost.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use outbox_relay::{Relay, Settings};
use sqlx::AssertSqlSafe;
use testkit::TestDb;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);

fn settings(url: &str, prefix: &str) -> Settings {
    let mut settings: Settings = toml::from_str(outbox_relay::DEFAULTS).unwrap();
    settings.kafka = testkit::kafka_address();
    settings.topic_prefix = prefix.to_owned();
    settings.sources = BTreeMap::from([("odd".to_owned(), url.into())]);
    settings
}

async fn run(database: &TestDb, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(database.pool())
        .await
        .unwrap();
}

/// The reason for which the only source waits, once it holds that word.
async fn waits_for(relay: &Relay, word: &str) -> String {
    testkit::eventually(word, PATIENCE, async || {
        let status = serde_json::to_value(relay.shared()[0].status()).unwrap();
        let reason = status["reason"].as_str().unwrap_or_default().to_owned();
        (status["state"] == "waiting" && reason.contains(word)).then_some(reason)
    })
    .await
}

async fn published(relay: &Relay, rows: u64) {
    testkit::eventually("the row", PATIENCE, async || {
        (relay.shared()[0].status().published_rows >= rows).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_rows_are_published_by_rule() {
    let (database, prefix) = (TestDb::new("odd").await, testkit::topic_prefix());
    let topic = format!("{prefix}events");
    testkit::kafka::create_topics(&[&topic], 1).await;
    sqlx::query(
        "insert into oncebox.outbox (event_id, topic, key, payload, headers) values
         (gen_random_uuid(), $1, null, 'without a key', '{}'),
         (gen_random_uuid(), $1, 'empty', '', '{}'),
         (gen_random_uuid(), $1, '', 'empty key', '{}'),
         (gen_random_uuid(), $1, 'headers', 'v', jsonb_build_object('large', repeat('x', 65536), '', 'no name'))",
    )
    .bind(&topic)
    .execute(database.pool())
    .await
    .unwrap();
    let shutdown = CancellationToken::new();
    let relay = Relay::start(settings(database.url(), &prefix), &shutdown).unwrap();
    published(&relay, 4).await;
    let records = testkit::kafka::read_committed(&topic).await;
    assert_eq!(records[0].key, None);
    assert_eq!(records[1].value, None, "an empty payload is a tombstone");
    assert_eq!(records[2].key.as_deref(), Some(b"".as_slice()));
    assert_eq!(records[3].headers.get("large").unwrap().len(), 65536);
    assert_eq!(records[3].headers.get_str(""), Some("no name"));
    shutdown.cancel();
    relay.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_another_shape_is_named_and_awaited() {
    let (database, prefix) = (TestDb::empty("odd").await, testkit::topic_prefix());
    let topic = format!("{prefix}events");
    testkit::kafka::create_topics(&[&topic], 1).await;
    let shutdown = CancellationToken::new();
    let relay = Relay::start(settings(database.url(), &prefix), &shutdown).unwrap();
    waits_for(&relay, "no table oncebox.outbox").await;
    run(
        &database,
        "create schema oncebox; create table oncebox.outbox (seq integer, topic text, key bytea, payload bytea,
         headers jsonb, event_id uuid, created_at timestamptz)",
    )
    .await;
    let reason = waits_for(&relay, "column xid (xid8) is missing").await;
    assert!(
        reason.contains("column seq is integer, and must be bigint"),
        "{reason}"
    );
    assert!(reason.contains("relay.outbox_shape"), "{reason}");
    run(&database, "drop schema oncebox cascade").await;
    oncebox::migrate(database.pool()).await.unwrap();
    run(
        &database,
        &format!("insert into oncebox.outbox (event_id, topic, key) values (gen_random_uuid(), '{topic}', 'k')"),
    )
    .await;
    published(&relay, 1).await;
    shutdown.cancel();
    relay.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_named_and_awaited() {
    let (database, prefix) = (TestDb::new("odd").await, testkit::topic_prefix());
    let topic = format!("{prefix}events");
    testkit::kafka::create_topics(&[&topic], 1).await;
    let user = format!("u_{}", prefix.trim_end_matches('.'));
    run(
        &database,
        &format!("create role {user} login; grant usage on schema oncebox to {user}"),
    )
    .await;
    let url = database.url().replace("postgres@", &format!("{user}@"));
    let shutdown = CancellationToken::new();
    let relay = Relay::start(settings(&url, &prefix), &shutdown).unwrap();
    waits_for(&relay, "lacks the right to select").await;
    run(
        &database,
        &format!(
            "grant select on oncebox.outbox to {user};
             grant select, insert, update on oncebox.relay_cursor, oncebox.relay_lease to {user};
             insert into oncebox.outbox (event_id, topic, key) values (gen_random_uuid(), '{topic}', 'k')"
        ),
    )
    .await;
    published(&relay, 1).await;
    shutdown.cancel();
    relay.ended().await;
    run(
        &database,
        &format!("drop owned by {user}; drop role {user}"),
    )
    .await;
}
