//! Rows that the broker refuses, and rows that are not to be published yet: their keys keep their order, all others go on.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use oncebox::Record;
use outbox_relay::source::{Choice, Decided, Decision, PollingSource, Table};
use outbox_relay::{Relay, Settings};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use testkit::TestDb;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    database: TestDb,
    prefix: String,
    topic: String,
}

struct Running {
    relay: Relay,
    shutdown: CancellationToken,
}

impl World {
    /// With a topic of one partition that has this configuration.
    async fn new(config: &[(&str, &str)]) -> Self {
        let (database, prefix) = (TestDb::new("parking").await, testkit::topic_prefix());
        let topic = format!("{prefix}events");
        let mut new = NewTopic::new(&topic, 1, TopicReplication::Fixed(1));
        for (name, value) in config {
            new = new.set(name, value);
        }
        admin()
            .create_topics([&new], &AdminOptions::new())
            .await
            .unwrap()
            .pop()
            .unwrap()
            .unwrap();
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
        settings.sources = BTreeMap::from([("parking".to_owned(), self.database.url().into())]);
        settings.refused_retry_ms = 100;
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

    /// Commits rows in one transaction; a value is its text followed by so many random bytes.
    async fn write(&self, topic: &str, rows: &[(Option<&str>, &str, i32)]) {
        let mut tx = self.database.pool().begin().await.unwrap();
        for (key, text, bytes) in rows {
            sqlx::query(
                "insert into oncebox.outbox (event_id, topic, key, payload)
                 values (gen_random_uuid(), $1, convert_to($2, 'utf8'),
                         convert_to($3 || ' ', 'utf8') || (
                             select coalesce(string_agg(decode(md5(random()::text), 'hex'), ''), '')
                             from generate_series(1, $4 / 16)))",
            )
            .bind(topic)
            .bind(key)
            .bind(text)
            .bind(bytes)
            .execute(&mut *tx)
            .await
            .unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// The first words of the values, once there are so many.
    async fn texts(&self, topic: &str, count: usize) -> Vec<String> {
        testkit::eventually(&format!("{count} records"), PATIENCE, async || {
            let records = testkit::kafka::read_committed(topic).await;
            (records.len() >= count).then(|| records.iter().map(text_of).collect())
        })
        .await
    }

    /// Waits until so many rows are in that state.
    async fn parked(&self, state: &str, count: i64) {
        testkit::eventually(&format!("{count} {state}"), PATIENCE, async || {
            let rows: i64 =
                sqlx::query_scalar("select count(*) from oncebox.relay_parked where state = $1")
                    .bind(state)
                    .fetch_one(self.database.pool())
                    .await
                    .unwrap();
            (rows == count).then_some(())
        })
        .await;
    }

    fn desk(&self) -> PollingSource {
        PollingSource::new(self.database.url(), &Table::default()).unwrap()
    }
}

impl Running {
    async fn stop(self) {
        self.shutdown.cancel();
        self.relay.ended().await;
    }
}

fn text_of(record: &Record) -> String {
    let value = record.value.as_deref().unwrap_or_default();
    let word = value.split(|byte| *byte == b' ').next().unwrap();
    String::from_utf8_lossy(word).into_owned()
}

fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new()
        .set("bootstrap.servers", testkit::kafka_address())
        .create()
        .unwrap()
}

const YOU: Decided<'_> = Decided {
    actor: "kim",
    reason: "a test",
};

/// The first of three rows of a key is too large for its topic, all in one transaction with other keys, so that all are
/// on their way to the broker together: the footgun where later rows of the key pass it.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_too_large_for_its_topic_holds_its_key_until_the_topic_takes_it() {
    let world = World::new(&[("max.message.bytes", "3000")]).await;
    let mut rows = vec![(Some("a"), "a1", 9000), (Some("a"), "a2", 500)];
    rows.extend((0..60).map(|_| (Some("b"), "b", 500)));
    rows.push((Some("a"), "a3", 500));
    world.write(&world.topic, &rows).await;
    let relay = world.start();
    let texts = world.texts(&world.topic, 60).await;
    assert!(texts.iter().all(|text| text == "b"), "{texts:?}");
    world.parked("refused", 1).await;
    world.parked("waiting", 2).await;
    // What comes later waits too, and another key does not.
    world
        .write(&world.topic, &[(Some("a"), "a4", 16), (Some("c"), "c", 16)])
        .await;
    assert_eq!(world.texts(&world.topic, 61).await[60], "c");
    testkit::eventually("one blocked key", PATIENCE, async || {
        (relay.relay.shared()[0].status().blocked_keys == 1).then_some(())
    })
    .await;
    let mut entries = std::collections::HashMap::new();
    entries.insert("max.message.bytes", "100000");
    let change = AlterConfig {
        specifier: ResourceSpecifier::Topic(&world.topic),
        entries,
    };
    admin()
        .alter_configs([&change], &AdminOptions::new())
        .await
        .unwrap()
        .pop()
        .unwrap()
        .unwrap();
    assert_eq!(
        world.texts(&world.topic, 65).await[61..],
        ["a1", "a2", "a3", "a4"]
    );
    // The key is free again.
    world.parked("waiting", 0).await;
    world.write(&world.topic, &[(Some("a"), "a5", 16)]).await;
    assert_eq!(world.texts(&world.topic, 66).await[65], "a5");
    assert_eq!(relay.relay.shared()[0].status().blocked_keys, 0);
    relay.stop().await;
}

/// Fifty rows of 500 bytes fit a topic of 3,000 only in portions: none of them is refused.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_too_large_only_together_all_pass() {
    let world = World::new(&[("max.message.bytes", "3000")]).await;
    world
        .write(&world.topic, &[(Some("a"), "a", 500); 50])
        .await;
    let relay = world.start();
    world.texts(&world.topic, 50).await;
    world.parked("refused", 0).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_blocks_only_its_keys_and_heals() {
    let world = World::new(&[]).await;
    let missing = format!("{}missing", world.prefix);
    let relay = world.start();
    world
        .write(
            &missing,
            &[(Some("k"), "1", 0), (Some("k"), "2", 0), (None, "free", 0)],
        )
        .await;
    world.write(&world.topic, &[(Some("k"), "other", 0)]).await;
    world.texts(&world.topic, 1).await;
    world.parked("refused", 2).await;
    world.parked("waiting", 1).await;
    // A relay that is started anew knows what is parked.
    relay.stop().await;
    let relay = world.start();
    world.write(&missing, &[(Some("k"), "3", 0)]).await;
    world.parked("waiting", 2).await;
    testkit::kafka::create_topics(&[&missing], 1).await;
    let texts = world.texts(&missing, 4).await;
    let of_key: Vec<_> = texts.iter().filter(|text| *text != "free").collect();
    assert_eq!(of_key, ["1", "2", "3"]);
    world.parked("waiting", 0).await;
    relay.stop().await;
}

/// A compacted topic takes no record without a key, and says so of each.
#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_key_for_a_compacted_topic_are_parked_alone() {
    let world = World::new(&[("cleanup.policy", "compact")]).await;
    let (keyed, keyless) = (|text| (Some("a"), text, 16), (None, "keyless", 16));
    let rows = [keyed("1"), keyless, keyed("2"), keyless, keyed("3")];
    world.write(&world.topic, &rows).await;
    let relay = world.start();
    assert_eq!(world.texts(&world.topic, 3).await, ["1", "2", "3"]);
    world.parked("refused", 2).await;
    let mut desk = world.desk();
    let choice = Choice::default();
    let rows = desk.list_parked(&choice, 0, 10).await.unwrap();
    assert_eq!(rows.len(), 2);
    let error = rows[0].error.as_deref().unwrap();
    assert!(error.contains("InvalidRecord"), "{error}");
    // Given up, kept, forgotten: each with its line in the audit.
    assert_eq!(desk.decide(&choice, Decision::Skip, YOU).await.unwrap(), 2);
    world.parked("dead", 2).await;
    let discarded = desk.decide(&choice, Decision::Discard, YOU).await;
    assert_eq!(discarded.unwrap(), 2);
    let audit: Vec<(String, String, i64)> =
        sqlx::query_as("select actor, action, rows from oncebox.relay_audit order by id")
            .fetch_all(world.database.pool())
            .await
            .unwrap();
    let line = |action: &str| ("kim".to_owned(), action.to_owned(), 2);
    assert_eq!(audit, [line("skip"), line("discard")]);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skipped_head_lets_the_rows_behind_it_go_in_order() {
    let world = World::new(&[("max.message.bytes", "3000")]).await;
    let relay = world.start();
    let rows = [
        (Some("a"), "a1", 9000),
        (Some("a"), "a2", 16),
        (Some("a"), "a3", 16),
    ];
    world.write(&world.topic, &rows).await;
    world.parked("waiting", 2).await;
    let mut desk = world.desk();
    let heads = Choice {
        key: Some(b"a".to_vec()),
        ..Choice::default()
    };
    assert_eq!(desk.decide(&heads, Decision::Skip, YOU).await.unwrap(), 1);
    assert_eq!(world.texts(&world.topic, 2).await, ["a2", "a3"]);
    world.write(&world.topic, &[(Some("a"), "a4", 16)]).await;
    assert_eq!(world.texts(&world.topic, 3).await[2], "a4");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_policy_a_topic_goes_on_without_what_is_refused() {
    let world = World::new(&[("max.message.bytes", "3000")]).await;
    let mut settings = world.settings();
    settings.skip_refused = format!("{}*", world.prefix);
    let relay = world.start_with(settings);
    let rows = [(Some("a"), "a1", 9000), (Some("a"), "a2", 16)];
    world.write(&world.topic, &rows).await;
    assert_eq!(world.texts(&world.topic, 1).await, ["a2"]);
    world.parked("dead", 1).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_bound_the_source_stands_still_and_goes_on_when_rows_are_released() {
    let world = World::new(&[]).await;
    let missing = format!("{}missing", world.prefix);
    let mut settings = world.settings();
    settings.parked_max = 3;
    let relay = world.start_with(settings);
    for key in ["a", "b", "c"] {
        world.write(&missing, &[(Some(key), key, 0)]).await;
    }
    world.parked("refused", 3).await;
    world.write(&missing, &[(Some("d"), "d", 0)]).await;
    let reason = testkit::eventually("standing still", PATIENCE, async || {
        let status = serde_json::to_value(relay.relay.shared()[0].status()).unwrap();
        (status["state"] == "refused").then(|| status["reason"].as_str().unwrap().to_owned())
    })
    .await;
    assert!(reason.contains("parked_max is 3"), "{reason}");
    testkit::kafka::create_topics(&[&missing], 1).await;
    assert_eq!(world.texts(&missing, 4).await.len(), 4);
    relay.stop().await;
}

/// Twenty delayed rows among rows of the same key that are not: those pass at once, and each delayed one comes when its
/// time has come by the clock of the database, never before.
#[tokio::test(flavor = "multi_thread")]
async fn delayed_rows_come_in_time_and_slow_nobody() {
    let world = World::new(&[]).await;
    let relay = world.start();
    // It is at work before anything is due.
    let topic = world.topic.clone();
    world.write(&topic, &[(Some("k"), "first", 0)]).await;
    assert_eq!(world.texts(&topic, 1).await, ["first"]);
    sqlx::query(
        "insert into oncebox.outbox (event_id, topic, key, payload, not_before)
         select gen_random_uuid(), $1, 'k',
                convert_to(case when due is null then 'now' else (extract(epoch from due) * 1000)::bigint::text end, 'utf8'), due
         from (select case when n % 2 = 0 then clock_timestamp() + n * interval '100 milliseconds' end as due
               from generate_series(11, 50) n) as times",
    )
    .bind(&world.topic)
    .execute(world.database.pool())
    .await
    .unwrap();
    let records = testkit::eventually("41 records", PATIENCE, async || {
        let mut records = testkit::kafka::read_committed(&world.topic).await;
        (records.len() >= 41).then(|| records.split_off(1))
    })
    .await;
    assert!(records[..20].iter().all(|record| text_of(record) == "now"));
    let mut late: Vec<i64> = records[20..]
        .iter()
        .map(|record| {
            record.timestamp.unwrap().timestamp_millis() - text_of(record).parse::<i64>().unwrap()
        })
        .collect();
    assert!(late.iter().all(|ms| *ms >= 0), "too early: {late:?}");
    late.sort_unstable();
    assert!(late[10] <= 100, "half of them within 100 ms: {late:?}");
    world.parked("delayed", 0).await;
    relay.stop().await;
}

/// A delayed row of a blocked key waits behind the rows that are parked before its time.
#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_row_does_not_pass_a_refused_one_of_its_key() {
    let world = World::new(&[]).await;
    let missing = format!("{}missing", world.prefix);
    let relay = world.start();
    sqlx::query(
        "insert into oncebox.outbox (event_id, topic, key, payload, not_before)
         values (gen_random_uuid(), $1, 'k', 'delayed', clock_timestamp() + interval '5 seconds')",
    )
    .bind(&missing)
    .execute(world.database.pool())
    .await
    .unwrap();
    world
        .write(&missing, &[(Some("k"), "1", 0), (Some("k"), "2", 0)])
        .await;
    world.parked("waiting", 1).await;
    testkit::eventually("its time", PATIENCE, async || {
        let due: bool = sqlx::query_scalar(
            "select not_before < clock_timestamp() from oncebox.relay_parked where state = 'delayed'",
        )
        .fetch_one(world.database.pool())
        .await
        .unwrap();
        due.then_some(())
    })
    .await;
    testkit::kafka::create_topics(&[&missing], 1).await;
    assert_eq!(world.texts(&missing, 3).await, ["1", "2", "delayed"]);
    relay.stop().await;
}
