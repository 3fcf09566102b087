//! The relay's guarantees attacked on a real PostgreSQL and a real broker.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use oncebox::Record;
use outbox_relay::cursor::Cursor;
use outbox_relay::{Relay, Settings};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use testkit::TestDb;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(60);

/// A source with topics of its own.
struct Bench {
    database: TestDb,
    prefix: String,
    topic: String,
}

/// A relay in this process.
struct Running {
    relay: Relay,
    shutdown: CancellationToken,
}

impl Bench {
    async fn new() -> Self {
        let (database, prefix) = (TestDb::new("relay").await, testkit::topic_prefix());
        let topic = format!("{prefix}events");
        testkit::kafka::create_topics(&[&topic], 3).await;
        // The relay makes the topic of its cursors itself.
        Self {
            database,
            prefix,
            topic,
        }
    }

    fn settings(&self) -> Settings {
        let mut settings: Settings = toml::from_str(outbox_relay::DEFAULTS).unwrap();
        settings.kafka = testkit::kafka_address();
        settings.topic_prefix.clone_from(&self.prefix);
        settings.sources = BTreeMap::from([("bench".to_owned(), self.database.url().into())]);
        settings.refused_retry_ms = 200;
        settings
    }

    fn start(&self) -> Running {
        self.start_with(self.settings())
    }

    fn start_with(&self, settings: Settings) -> Running {
        let shutdown = CancellationToken::new();
        Running {
            relay: Relay::start(settings, &shutdown).unwrap(),
            shutdown,
        }
    }

    /// Inserts one row, as a writer in any language would.
    async fn insert(&self, connection: &mut PgConnection, key: &str, text: &str) -> Uuid {
        insert_into(connection, &self.topic, key, text).await
    }

    async fn insert_alone(&self, key: &str, text: &str) -> Uuid {
        let mut connection = self.database.pool().acquire().await.unwrap();
        self.insert(&mut connection, key, text).await
    }

    /// Waits until that many records are there, and returns what there is.
    async fn records(&self, count: usize) -> Vec<Record> {
        testkit::eventually(&format!("{count} records"), PATIENCE, async || {
            let records = testkit::kafka::read_committed(&self.topic).await;
            (records.len() >= count).then_some(records)
        })
        .await
    }
}

impl Running {
    async fn stop(self) {
        self.shutdown.cancel();
        self.relay.ended().await;
    }

    async fn state(&self, wanted: &str) -> String {
        testkit::eventually(&format!("state {wanted}"), PATIENCE, async || {
            let status = serde_json::to_value(self.relay.shared()[0].status()).unwrap();
            (status["state"] == wanted)
                .then(|| status["reason"].as_str().unwrap_or_default().to_owned())
        })
        .await
    }
}

async fn insert_into(connection: &mut PgConnection, topic: &str, key: &str, text: &str) -> Uuid {
    let id = Uuid::now_v7();
    sqlx::query(
        "insert into oncebox.outbox (event_id, topic, key, payload, headers)
         values ($1, $2, $3, $4, jsonb_build_object('id', $1::text))",
    )
    .bind(id)
    .bind(topic)
    .bind(key.as_bytes())
    .bind(text.as_bytes())
    .execute(connection)
    .await
    .unwrap();
    id
}

fn id_of(record: &Record) -> Uuid {
    record.headers.get_str("id").unwrap().parse().unwrap()
}

fn texts(records: &[Record]) -> Vec<String> {
    records
        .iter()
        .map(|record| String::from_utf8(record.value.as_ref().unwrap().to_vec()).unwrap())
        .collect()
}

/// G1, and the loss that `id > last` has: B commits first with the higher seq.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_committer_is_not_lost() {
    let bench = Bench::new().await;
    let relay = bench.start();
    let mut late = bench.database.pool().begin().await.unwrap();
    let a = bench.insert(&mut late, "a", "late").await;
    let b = bench.insert_alone("b", "early").await;
    assert_eq!(
        bench.records(1).await.iter().map(id_of).collect::<Vec<_>>(),
        [b]
    );
    late.commit().await.unwrap();
    let all: HashSet<_> = bench.records(2).await.iter().map(id_of).collect();
    assert_eq!(all, HashSet::from([a, b]));
    relay.stop().await;
}

/// The late transaction also survives a restart between: its id is in the cursor's list of running ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_committer_survives_a_restart() {
    let bench = Bench::new().await;
    let relay = bench.start();
    let mut late = bench.database.pool().begin().await.unwrap();
    bench.insert(&mut late, "a", "late").await;
    bench.insert_alone("b", "early").await;
    bench.records(1).await;
    relay.stop().await;
    late.commit().await.unwrap();
    let relay = bench.start();
    let mut all = texts(&bench.records(2).await);
    all.sort();
    assert_eq!(all, ["early", "late"]);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rolled_back_is_never_published() {
    let bench = Bench::new().await;
    let relay = bench.start();
    let mut lost = bench.database.pool().begin().await.unwrap();
    bench.insert(&mut lost, "a", "rolled back").await;
    lost.rollback().await.unwrap();
    bench.insert_alone("a", "kept").await;
    assert_eq!(texts(&bench.records(1).await), ["kept"]);
    relay.stop().await;
}

/// A transaction that stays open for the whole run delays nobody but itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_transaction_stalls_nobody() {
    let bench = Bench::new().await;
    let mut long = bench.database.pool().begin().await.unwrap();
    bench.insert(&mut long, "long", "long").await;
    let relay = bench.start();
    for number in 0..50 {
        bench.insert_alone("k", &number.to_string()).await;
    }
    let expected: Vec<_> = (0..50).map(|number| number.to_string()).collect();
    assert_eq!(texts(&bench.records(50).await), expected);
    long.commit().await.unwrap();
    bench.records(51).await;
    relay.stop().await;
}

/// G3 over a window that takes many transactions, with a restart inside it.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_window_keeps_order_and_its_place() {
    let bench = Bench::new().await;
    let mut tx = bench.database.pool().begin().await.unwrap();
    sqlx::query(
        "insert into oncebox.outbox (event_id, topic, key, payload, headers)
         select id, $1, convert_to((n % 7)::text, 'utf8'), convert_to(n::text, 'utf8'), jsonb_build_object('id', id::text)
         from (select n, gen_random_uuid() as id from generate_series(1, 30000) n) as rows",
    )
    .bind(&bench.topic)
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let mut settings = bench.settings();
    settings.batch_rows = 100;
    let mut published = 0;
    for _ in 0..3 {
        let relay = bench.start_with(settings.clone());
        testkit::eventually("some progress", PATIENCE, async || {
            (relay.relay.shared()[0].status().published_rows >= 300).then_some(())
        })
        .await;
        published += relay.relay.shared()[0].status().published_rows;
        relay.stop().await;
    }
    assert!(
        published < 30_000,
        "the restarts were meant to be inside the window"
    );
    let relay = bench.start_with(settings);
    check_each_once_in_order(&bench.records(30_000).await, 30_000);
    relay.stop().await;
}

fn check_each_once_in_order(records: &[Record], count: usize) {
    let ids: HashSet<_> = records.iter().map(id_of).collect();
    assert_eq!(
        (records.len(), ids.len()),
        (count, count),
        "every event once"
    );
    let mut last: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    for record in records {
        let number: i64 = String::from_utf8(record.value.as_ref().unwrap().to_vec())
            .unwrap()
            .parse()
            .unwrap();
        let before = last.insert(record.key.as_ref().unwrap().to_vec(), number);
        assert!(
            before.is_none_or(|before| before < number),
            "{before:?} before {number}"
        );
    }
}

/// G2, G4: the second relay fences the first, which publishes nothing any more.
#[tokio::test(flavor = "multi_thread")]
async fn two_relays_at_once_publish_everything_once() {
    let bench = Bench::new().await;
    let mut settings = bench.settings();
    settings.lease_seconds = 0;
    let first = bench.start_with(settings.clone());
    first.state("running").await;
    for number in 0..200 {
        bench.insert_alone("k", &number.to_string()).await;
    }
    let second = bench.start_with(settings);
    second.state("running").await;
    for number in 200..400 {
        bench.insert_alone("k", &number.to_string()).await;
    }
    let reason = first.state("stopped").await;
    assert!(reason.contains("relay.fenced"), "{reason}");
    check_each_once_in_order(&bench.records(400).await, 400);
    second.stop().await;
}

/// The broker refuses the relay although nobody took over, as after a transaction that lasted too long: it comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_refused_without_a_successor_goes_on() {
    let bench = Bench::new().await;
    let relay = bench.start();
    bench.insert_alone("k", "0").await;
    bench.records(1).await;
    let id = format!("{}oncebox-relay.bench.0", bench.settings().topic_prefix);
    let mut numbers = 1..;
    // Its producers, which take turns.
    let others = (2..=4).map(|number| format!("{id}.{number}"));
    for id in [id.clone()].into_iter().chain(others) {
        tokio::task::spawn_blocking(move || fence(&id))
            .await
            .unwrap();
        for number in numbers.by_ref().take(10) {
            bench.insert_alone("k", &number.to_string()).await;
        }
    }
    check_each_once_in_order(&bench.records(41).await, 41);
    relay.stop().await;
}

/// Fences whoever has that id, and claims nothing.
fn fence(transactional_id: &str) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", testkit::kafka_address())
        .set("transactional.id", transactional_id)
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
}

/// An older state of the same cluster would give new rows transaction ids that count as published.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_set_back_is_refused() {
    let bench = Bench::new().await;
    let relay = bench.start();
    bench.insert_alone("k", "0").await;
    bench.records(1).await;
    relay.stop().await;
    let topic = bench.settings().cursor_topic();
    let last = testkit::kafka::read_committed(&topic).await.pop().unwrap();
    let mut cursor: Cursor = serde_json::from_slice(last.value.as_deref().unwrap()).unwrap();
    cursor.settled = "900000000000:900000000000:".parse().unwrap();
    let future = serde_json::to_vec(&cursor).unwrap();
    testkit::kafka::Sender::new()
        .send(
            &topic,
            None,
            last.key.as_deref(),
            Some(&future),
            &oncebox::Headers::new(),
        )
        .await;
    bench.insert_alone("k", "1").await;
    let relay = bench.start();
    let reason = relay.state("stopped").await;
    assert!(reason.contains("relay.database_behind"), "{reason}");
    assert_eq!(
        texts(&testkit::kafka::read_committed(&bench.topic).await),
        ["0"]
    );
    relay.stop().await;
}

/// A database restored under the same name while the relay runs: the connection breaks, and the next leads elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_swapped_under_a_running_relay_is_refused() {
    let (bench, other) = (Bench::new().await, TestDb::new("relay").await);
    let relay = bench.start();
    bench.insert_alone("k", "0").await;
    bench.records(1).await;
    insert_into(
        &mut other.pool().acquire().await.unwrap(),
        &bench.topic,
        "k",
        "from elsewhere",
    )
    .await;
    other.pool().close().await;
    let (name, stranger) = (database_name(&bench.database), database_name(&other));
    let mut admin = PgConnection::connect(&testkit::postgres_address())
        .await
        .unwrap();
    for sql in [
        format!("alter database {name} allow_connections false"),
        format!(
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = '{name}'"
        ),
        format!("alter database {name} rename to {name}_old"),
        format!("alter database {stranger} rename to {name}"),
    ] {
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut admin)
            .await
            .unwrap();
    }
    let reason = relay.state("stopped").await;
    assert!(reason.contains("relay.wrong_database"), "{reason}");
    assert_eq!(
        texts(&testkit::kafka::read_committed(&bench.topic).await),
        ["0"]
    );
    relay.stop().await;
    let sql = format!("drop database {name}_old");
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut admin)
        .await
        .unwrap();
}

fn database_name(database: &TestDb) -> &str {
    database.url().rsplit_once('/').unwrap().1
}

/// One source that cannot run does not keep the others from running, and says what it misses.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_cannot_run_leaves_the_others_alone() {
    let bench = Bench::new().await;
    let mut settings = bench.settings();
    let nowhere = "postgres://postgres@127.0.0.1:1/nowhere".to_owned();
    settings.sources.insert("away".into(), nowhere.into());
    let relay = bench.start_with(settings);
    bench.insert_alone("k", "0").await;
    bench.records(1).await;
    // Sources are in the order of their names.
    let reason = relay.state("waiting").await;
    assert!(reason.contains("database"), "{reason}");
    relay.stop().await;
}

/// The cursor topic is shared, so another source's open transaction hides everything behind it from a read_committed
/// reader, this source's last cursors too. Going on from an older one would publish everything since then twice.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_of_another_source_hides_no_cursor() {
    let bench = Bench::new().await;
    let relay = bench.start();
    bench.insert_alone("k", "0").await;
    bench.records(1).await;
    let other = open_transaction_on(&bench.settings().cursor_topic()).await;
    for number in 1..20 {
        bench.insert_alone("k", &number.to_string()).await;
    }
    bench.records(20).await;
    relay.stop().await;

    let relay = bench.start();
    // Whatever it does while the cursor is hidden, it must not publish; it says what it waits for.
    let reason = relay.state("waiting").await;
    assert!(reason.contains("another transaction"), "{reason}");
    tokio::task::spawn_blocking(move || other.abort_transaction(PATIENCE).unwrap())
        .await
        .unwrap();
    relay.state("running").await;
    bench.insert_alone("k", "20").await;
    check_each_once_in_order(&bench.records(21).await, 21);
    relay.stop().await;
}

/// A foreign producer in the middle of a transaction that has written to `topic`.
async fn open_transaction_on(topic: &str) -> BaseProducer {
    let topic = topic.to_owned();
    tokio::task::spawn_blocking(move || {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", testkit::kafka_address())
            .set("transactional.id", format!("{topic}.other"))
            .create()
            .unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        producer.begin_transaction().unwrap();
        producer
            .send(BaseRecord::to(&topic).key("other/0").payload("{}"))
            .map_err(|(error, _)| error)
            .unwrap();
        producer.flush(PATIENCE).unwrap();
        producer
    })
    .await
    .unwrap()
}

/// A cursor of another database is refused before anything is published.
#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_database_is_refused() {
    let bench = Bench::new().await;
    let relay = bench.start();
    bench.insert_alone("k", "1").await;
    bench.records(1).await;
    relay.stop().await;
    let other = TestDb::new("relay").await;
    insert_into(
        &mut other.pool().acquire().await.unwrap(),
        &bench.topic,
        "k",
        "from elsewhere",
    )
    .await;
    let mut settings = bench.settings();
    settings.sources.insert("bench".into(), other.url().into());
    let relay = bench.start_with(settings);
    let reason = relay.state("stopped").await;
    assert!(reason.contains("relay.wrong_database"), "{reason}");
    assert_eq!(
        texts(&testkit::kafka::read_committed(&bench.topic).await),
        ["1"]
    );
    relay.stop().await;
}

/// A row that the broker refuses is never skipped silently: what comes before it goes out, what comes behind waits.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_parking_table_a_refused_row_holds_the_source_until_it_is_repaired() {
    let bench = Bench::new().await;
    let missing = format!("{}missing", bench.prefix);
    // As in the database of a service that is older than the relay.
    sqlx::raw_sql(
        "drop table oncebox.relay_parked; alter table oncebox.outbox drop column not_before",
    )
    .execute(bench.database.pool())
    .await
    .unwrap();
    let relay = bench.start();
    let mut tx = bench.database.pool().begin().await.unwrap();
    bench.insert(&mut tx, "k", "before").await;
    insert_into(&mut tx, &missing, "k", "for a topic that is not there").await;
    bench.insert(&mut tx, "k", "behind").await;
    tx.commit().await.unwrap();
    let reason = relay.state("refused").await;
    assert!(reason.contains(&missing), "{reason}");
    assert_eq!(
        texts(&testkit::kafka::read_committed(&bench.topic).await),
        ["before"]
    );
    testkit::kafka::create_topics(&[&missing], 1).await;
    assert_eq!(texts(&bench.records(2).await), ["before", "behind"]);
    assert_eq!(testkit::kafka::read_committed(&missing).await.len(), 1);
    relay.stop().await;
}

/// Headers of the row arrive as bytes; a row without payload is a tombstone.
#[tokio::test(flavor = "multi_thread")]
async fn headers_and_tombstones_arrive_as_written() {
    let bench = Bench::new().await;
    sqlx::query(
        r#"insert into oncebox.outbox (event_id, topic, key, payload, headers) values
           (gen_random_uuid(), $1, 'k', null, '{"text": "ä", "bytes": {"base64": "/wA="}, "none": null, "twice": ["1", "2"]}')"#,
    )
    .bind(&bench.topic)
    .execute(bench.database.pool())
    .await
    .unwrap();
    let relay = bench.start();
    let records = bench.records(1).await;
    assert_eq!(records[0].value, None);
    assert_eq!(records[0].headers.get_str("text"), Some("ä"));
    assert_eq!(records[0].headers.get("bytes"), Some([0xff, 0].as_slice()));
    assert_eq!(records[0].headers.get("none"), None);
    assert_eq!(
        records[0]
            .headers
            .iter()
            .filter(|(name, _)| *name == "twice")
            .count(),
        2
    );
    relay.stop().await;
}

/// The database goes away in the middle and comes back: nothing lost, nothing doubled, nobody restarts anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_outage_is_survived() {
    let bench = Bench::new().await;
    let address = testkit::postgres_address();
    let host = address
        .rsplit_once('@')
        .unwrap()
        .1
        .split('/')
        .next()
        .unwrap()
        .to_owned();
    let proxy = testkit::Proxy::to(&host).await;
    let mut settings = bench.settings();
    let url = bench
        .database
        .url()
        .replace(&host, &proxy.address().to_string());
    settings.sources.insert("bench".into(), url.into());
    let relay = bench.start_with(settings);
    bench.insert_alone("k", "1").await;
    bench.records(1).await;
    proxy.cut();
    relay.state("waiting").await;
    bench.insert_alone("k", "2").await;
    proxy.mend();
    check_each_once_in_order(&bench.records(2).await, 2);
    relay.state("running").await;
    relay.stop().await;
}
