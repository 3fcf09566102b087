//! The broker's disk is full: nothing that it writes gets through, until somebody makes room and starts it again.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use devstack::state::State;
use devstack::{External, Stack, StackOptions};
use outbox_relay::{Relay, Settings};
use testkit::TestDb;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(90);
const TOPIC: &str = "events";

async fn broker() -> Stack {
    let dir = devstack::place::target().join(format!("dev-test-disk-{}", std::process::id()));
    Stack::start(StackOptions {
        external: External {
            kafka: None,
            database_url: Some(testkit::postgres_address()),
            registry_url: Some(testkit::registry_address()),
        },
        ..StackOptions::private(dir)
    })
    .await
    .unwrap()
}

/// No file of the broker's may become larger than that: beyond it a write fails, as on a disk without room.
fn fill_disk(broker: &Stack) {
    let state = State::read(broker.dir()).unwrap().unwrap();
    let process = state.parts["kafka"].process.clone().unwrap();
    let status = Command::new("prlimit")
        .args(["--pid", &process.pid.to_string(), "--fsize=65536"])
        .status()
        .unwrap();
    assert!(status.success(), "prlimit");
}

/// Commits rows of one key, a kilobyte each that does not shrink to nothing.
async fn write(database: &TestDb, rows: std::ops::Range<i64>) {
    sqlx::query(
        "insert into oncebox.outbox (event_id, topic, key, payload, headers)
         select gen_random_uuid(), $1, 'k', convert_to(n::text, 'utf8'), jsonb_build_object('padding',
             (select string_agg(md5(n::text || p), '') from generate_series(1, 32) p))
         from generate_series($2, $3 - 1) n order by n",
    )
    .bind(TOPIC)
    .bind(rows.start)
    .bind(rows.end)
    .execute(database.pool())
    .await
    .unwrap();
}

/// Waits until so many rows are there: once, in order.
async fn complete(broker: &Stack, rows: usize) {
    let numbers: Vec<usize> = testkit::eventually("all rows", PATIENCE, async || {
        let records = testkit::kafka::read_committed_at(broker.kafka(), TOPIC).await;
        let texts = records.iter().map(|record| {
            let value = record.value.as_ref().unwrap();
            String::from_utf8_lossy(value).parse().unwrap()
        });
        (records.len() >= rows).then(|| texts.collect())
    })
    .await;
    assert_eq!(numbers, (0..rows).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_disk_refuses_is_published_when_there_is_room() {
    let (database, broker) = (TestDb::new("disk").await, broker().await);
    testkit::kafka::create_topics_at(broker.kafka(), &[TOPIC], 1).await;
    let mut settings: Settings = toml::from_str(outbox_relay::DEFAULTS).unwrap();
    settings.kafka = broker.kafka().to_owned();
    settings.sources = BTreeMap::from([("disk".to_owned(), database.url().into())]);
    let shutdown = CancellationToken::new();
    let relay = Relay::start(settings, &shutdown).unwrap();
    let status = || serde_json::to_value(relay.shared()[0].status()).unwrap();
    write(&database, 0..20).await;
    complete(&broker, 20).await;

    fill_disk(&broker);
    write(&database, 20..400).await;
    let reason = testkit::eventually("waiting", PATIENCE, async || {
        let status = status();
        (status["state"] == "waiting").then(|| status["reason"].as_str().unwrap().to_owned())
    })
    .await;
    assert!(reason.contains("broker"), "{reason}");
    // A broker ends itself when the only disk that it has fails.
    testkit::eventually("the broker's end", PATIENCE, async || broker.check().err()).await;
    write(&database, 400..450).await;

    broker.start_kafka().await.unwrap();
    complete(&broker, 450).await;
    testkit::eventually("running", PATIENCE, async || {
        (status()["state"] == "running").then_some(())
    })
    .await;
    shutdown.cancel();
    tokio::time::timeout(PATIENCE, relay.ended())
        .await
        .expect("stopped in time");
    broker.remove().await.unwrap();
}
