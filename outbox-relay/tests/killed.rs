//! G2 and G3 under kill -9: the relay as a process, killed five times in the middle of 20,000 rows.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{HashMap, HashSet};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testkit::TestDb;

const ROWS: usize = 20_000;
const KEYS: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn killed_five_times_in_twenty_thousand_rows() {
    let (database, prefix) = (TestDb::new("killed").await, testkit::topic_prefix());
    let topic = format!("{prefix}events");
    testkit::kafka::create_topics(&[&topic], 6).await;
    testkit::kafka::create_topics(&[&format!("{prefix}oncebox.relay.cursors")], 1).await;
    let start = || -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outbox-relay"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ONCEBOX_")) {
            command.env_remove(name);
        }
        command
            .env("ONCEBOX_HTTP_ADDRESS", "127.0.0.1:0")
            .env("ONCEBOX_KAFKA", testkit::kafka_address())
            .env("ONCEBOX_TOPIC_PREFIX", &prefix)
            .env("ONCEBOX_SOURCES__KILLED", database.url())
            // Small transactions: many places to die at.
            .env("ONCEBOX_BATCH_ROWS", "20")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };

    // Four writers at once, each with keys of its own and transactions of ten rows: windows overlap and interleave.
    let writers: Vec<_> = (0..4_usize)
        .map(|writer| {
            let (pool, topic) = (database.pool().clone(), topic.clone());
            tokio::spawn(async move { write(&pool, &topic, writer).await })
        })
        .collect();

    for _ in 0..5 {
        let before = testkit::kafka::end_offsets(&topic).await;
        let mut relay = start();
        testkit::eventually(
            "progress before the next kill",
            Duration::from_secs(60),
            async || (testkit::kafka::end_offsets(&topic).await > before + 1500).then_some(()),
        )
        .await;
        relay.kill().unwrap();
        relay.wait().unwrap();
    }
    let published = testkit::kafka::read_committed(&topic).await.len();
    assert!(
        published < ROWS,
        "every kill was meant to be in the middle, and {published} rows are out"
    );
    for writer in writers {
        writer.await.unwrap();
    }
    let mut relay = start();
    let records = testkit::eventually("all rows", Duration::from_secs(60), async || {
        let records = testkit::kafka::read_committed(&topic).await;
        (records.len() >= ROWS).then_some(records)
    })
    .await;
    relay.kill().unwrap();
    relay.wait().unwrap();

    let ids: HashSet<_> = records
        .iter()
        .map(|record| record.headers.get_str("id").unwrap().to_owned())
        .collect();
    assert_eq!((records.len(), ids.len()), (ROWS, ROWS), "each event once");
    let mut next: HashMap<Vec<u8>, usize> = HashMap::new();
    for record in &records {
        let number: usize = std::str::from_utf8(record.value.as_deref().unwrap())
            .unwrap()
            .parse()
            .unwrap();
        let expected = next
            .entry(record.key.as_deref().unwrap().to_vec())
            .or_default();
        assert_eq!(number, *expected, "commit order of key {:?}", record.key);
        *expected += 1;
    }
    assert_eq!(next.len(), KEYS);
}

/// A quarter of all rows, in transactions of ten, numbered for each key in commit order.
async fn write(pool: &sqlx::PgPool, topic: &str, writer: usize) {
    let mut numbers: HashMap<usize, usize> = HashMap::new();
    for transaction in 0..ROWS / 4 / 10 {
        let (mut keys, mut texts) = (Vec::new(), Vec::new());
        for row in 0..10 {
            let key = writer * (KEYS / 4) + (transaction * 10 + row) % (KEYS / 4);
            let number = numbers.entry(key).or_default();
            keys.push(key.to_string());
            texts.push(number.to_string());
            *number += 1;
        }
        sqlx::query(
            "insert into oncebox.outbox (event_id, topic, key, payload, headers)
             select id, $1, convert_to(key, 'utf8'), convert_to(text, 'utf8'), jsonb_build_object('id', id::text)
             from (select gen_random_uuid() as id, key, text, position
                   from unnest($2::text[], $3::text[]) with ordinality as given (key, text, position)) as rows
             order by position",
        )
        .bind(topic)
        .bind(&keys)
        .bind(&texts)
        .execute(pool)
        .await
        .unwrap();
    }
}
