//! Database and broker away, slow, deaf or refusing, one and both: the relay says what it waits for, tries without haste,
//! goes on by itself, and nothing is lost, doubled or reordered (guarantee G8).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use outbox_relay::{Relay, Settings};
use sqlx::AssertSqlSafe;
use testkit::{Proxy, TestDb};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(90);
/// How long an outage lasts once it is noticed: long enough for haste to show.
const OUTAGE: Duration = Duration::from_secs(4);

/// A source and a broker, each behind a proxy, and a relay between them.
struct World {
    database: TestDb,
    prefix: String,
    topic: String,
    to_database: Proxy,
    to_broker: Proxy,
    written: std::sync::atomic::AtomicUsize,
}

struct Running {
    relay: Relay,
    shutdown: CancellationToken,
}

impl World {
    async fn new() -> Self {
        let (database, prefix) = (TestDb::new("outage").await, testkit::topic_prefix());
        let topic = format!("{prefix}events");
        testkit::kafka::create_topics(&[&topic], 1).await;
        let to_database = Proxy::to(host_of(database.url())).await;
        Self {
            database,
            prefix,
            topic,
            to_database,
            to_broker: Proxy::to_broker(&testkit::kafka_address()).await,
            written: 0.into(),
        }
    }

    fn settings(&self) -> Settings {
        let mut settings: Settings = toml::from_str(outbox_relay::DEFAULTS).unwrap();
        settings.kafka = self.to_broker.address().to_string();
        settings.topic_prefix.clone_from(&self.prefix);
        let proxied = self.to_database.address().to_string();
        let url = self
            .database
            .url()
            .replace(host_of(self.database.url()), &proxied);
        settings.sources = BTreeMap::from([("outage".to_owned(), url.into())]);
        settings
    }

    fn start(&self, settings: Settings) -> Running {
        let shutdown = CancellationToken::new();
        Running {
            relay: Relay::start(settings, &shutdown).unwrap(),
            shutdown,
        }
    }

    /// Commits rows of one key, not through the proxy.
    async fn write(&self, rows: usize) {
        self.write_with(rows, "'{}'").await;
    }

    /// Likewise, a kilobyte each that does not shrink to nothing.
    async fn write_padded(&self, rows: usize) {
        let padding = "(select string_agg(md5(n::text || p), '') from generate_series(1, 32) p)";
        self.write_with(rows, &format!("jsonb_build_object('padding', {padding})"))
            .await;
    }

    async fn write_with(&self, rows: usize, headers: &str) {
        let first = self
            .written
            .fetch_add(rows, std::sync::atomic::Ordering::Relaxed);
        let insert = format!(
            "insert into oncebox.outbox (event_id, topic, key, payload, headers)
             select gen_random_uuid(), $1, 'k', convert_to(n::text, 'utf8'), {headers}
             from generate_series($2, $3) n order by n"
        );
        sqlx::query(AssertSqlSafe(insert))
            .bind(&self.topic)
            .bind(i64::try_from(first).unwrap())
            .bind(i64::try_from(first + rows).unwrap() - 1)
            .execute(self.database.pool())
            .await
            .unwrap();
    }

    /// Waits until all that was written is there: once, in order.
    async fn complete(&self) {
        let count = self.written.load(std::sync::atomic::Ordering::Relaxed);
        let numbers: Vec<usize> = testkit::eventually("all rows", PATIENCE, async || {
            let records = testkit::kafka::read_committed(&self.topic).await;
            (records.len() >= count).then(|| {
                records
                    .iter()
                    .map(|record| {
                        String::from_utf8_lossy(record.value.as_ref().unwrap())
                            .parse()
                            .unwrap()
                    })
                    .collect()
            })
        })
        .await;
        assert_eq!(numbers, (0..count).collect::<Vec<_>>());
    }

    /// Published rows, an outage with rows committed meanwhile, and all of it afterwards.
    async fn survives(&self, strike: impl Fn(&Self), mend: impl AsyncFn(&Self)) {
        let running = self.start(self.settings());
        self.write(50).await;
        self.complete().await;
        strike(self);
        self.write(50).await;
        let reason = running.waits().await;
        assert!(!reason.is_empty());
        let before = (self.to_database.accepted(), self.to_broker.accepted());
        tokio::time::sleep(OUTAGE).await;
        let tried = (
            self.to_database.accepted() - before.0,
            self.to_broker.accepted() - before.1,
        );
        // Four connections to the database, one at least to the broker, each tried again after growing pauses.
        assert!(
            tried.0 < 60 && tried.1 < 60,
            "{tried:?} attempts in {OUTAGE:?}"
        );
        self.write(50).await;
        mend(self).await;
        self.complete().await;
        running.runs().await;
        running.stop().await;
    }
}

impl Running {
    fn status(&self) -> serde_json::Value {
        serde_json::to_value(self.relay.shared()[0].status()).unwrap()
    }

    fn state(&self) -> String {
        self.status()["state"].as_str().unwrap().to_owned()
    }

    /// Waits until it says that it waits, and returns for what.
    async fn waits(&self) -> String {
        testkit::eventually("waiting", PATIENCE, async || {
            let status = self.status();
            (status["state"] == "waiting").then(|| status["reason"].as_str().unwrap().to_owned())
        })
        .await
    }

    async fn runs(&self) {
        testkit::eventually("running", PATIENCE, async || {
            (self.state() == "running").then_some(())
        })
        .await;
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.relay.ended())
            .await
            .expect("stopped in time");
    }
}

/// `host:port` of a database's address.
fn host_of(url: &str) -> &str {
    url.rsplit_once('@').unwrap().1.split('/').next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_cut_off() {
    let world = World::new().await;
    world
        .survives(
            |world| world.to_database.cut(),
            async |world| world.to_database.mend(),
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_says_nothing() {
    let world = World::new().await;
    world
        .survives(
            |world| world.to_database.stall(),
            async |world| world.to_database.mend(),
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_is_cut_off() {
    let world = World::new().await;
    world
        .survives(
            |world| world.to_broker.cut(),
            async |world| world.to_broker.mend(),
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_says_nothing() {
    let world = World::new().await;
    world
        .survives(
            |world| world.to_broker.stall(),
            async |world| world.to_broker.mend(),
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_are_cut_off_and_come_back_one_after_the_other() {
    let world = World::new().await;
    let strike = |world: &World| {
        world.to_broker.cut();
        world.to_database.cut();
    };
    let mend = async |world: &World| {
        world.to_broker.mend();
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.to_database.mend();
    };
    world.survives(strike, mend).await;
}

/// Not outages: everything takes its time.
#[tokio::test(flavor = "multi_thread")]
async fn both_are_slow() {
    let world = World::new().await;
    world.to_broker.delay(Duration::from_millis(30));
    world.to_database.delay(Duration::from_millis(30));
    let running = world.start(world.settings());
    for _ in 0..5 {
        world.write(20).await;
    }
    world.complete().await;
    running.stop().await;
}

/// Connections break again and again, in the middle of reading, of transactions, of taking over.
#[tokio::test(flavor = "multi_thread")]
async fn connections_break_again_and_again() {
    let world = World::new().await;
    let running = world.start(world.settings());
    for round in 0..30 {
        world.write(200).await;
        tokio::time::sleep(Duration::from_millis(50 + round * 17 % 150)).await;
        world.to_broker.reset();
        if round % 2 == 0 {
            world.to_database.reset();
        }
    }
    world.complete().await;
    running.stop().await;
}

/// What only a person can mend is said, is not tried in haste, and needs no restart once it is mended.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_user_is_named_and_awaited() {
    let world = World::new().await;
    let user = format!("u_{}", world.prefix.trim_end_matches('.'));
    let mut settings = world.settings();
    let url = settings.sources["outage"]
        .url()
        .replace("postgres@", &format!("{user}@"));
    settings.sources = BTreeMap::from([("outage".to_owned(), url.into())]);
    let running = world.start(settings);
    world.write(10).await;
    let reason = running.waits().await;
    assert!(reason.contains(&user), "{reason}");
    let create = format!("create role {user} login superuser");
    sqlx::raw_sql(AssertSqlSafe(create))
        .execute(world.database.pool())
        .await
        .unwrap();
    world.complete().await;
    running.stop().await;
    let drop = format!("drop owned by {user}; drop role {user}");
    sqlx::raw_sql(AssertSqlSafe(drop))
        .execute(world.database.pool())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_told_from_one_that_is_away() {
    let world = World::new().await;
    let mut settings = world.settings();
    let url = format!("{}?sslmode=require", settings.sources["outage"].url());
    settings.sources = BTreeMap::from([("outage".to_owned(), url.into())]);
    let running = world.start(settings);
    let reason = running.waits().await;
    assert!(
        reason.to_lowercase().contains("tls") || reason.to_lowercase().contains("ssl"),
        "{reason}"
    );
    running.stop().await;

    let mut settings = world.settings();
    let properties = [
        ("security.protocol", "ssl"),
        ("ssl.endpoint.identification.algorithm", "none"),
    ];
    settings.kafka_properties = properties
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let running = world.start(settings);
    world.write(5).await;
    let reason = running.waits().await;
    let before = world.to_broker.accepted();
    tokio::time::sleep(OUTAGE).await;
    let tried = world.to_broker.accepted() - before;
    assert!(tried < 150, "{tried} attempts: {reason}");
    assert!(reason.to_lowercase().contains("ssl handshake"), "{reason}");
    running.stop().await;
    // With the right settings everything that was written meanwhile goes out.
    let running = world.start(world.settings());
    world.complete().await;
    running.stop().await;
    let distinct: HashSet<_> = testkit::kafka::read_committed(&world.topic)
        .await
        .into_iter()
        .map(|record| record.value)
        .collect();
    assert_eq!(distinct.len(), 5);
}

/// The server asks only this user for a password. It is mended where it is wrong, and that is enough.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_without_being_shown_and_awaited() {
    let world = World::new().await;
    let user = format!("p_{}", world.prefix.trim_end_matches('.'));
    let pool = world.database.pool();
    let create = format!("create role {user} login superuser password 'right'");
    sqlx::raw_sql(AssertSqlSafe(create))
        .execute(pool)
        .await
        .unwrap();
    let rules: String = sqlx::query_scalar("select pg_read_file(current_setting('hba_file'))")
        .fetch_one(pool)
        .await
        .unwrap();
    put_rules(pool, &format!("host all {user} all scram-sha-256\n{rules}")).await;

    let mut settings = world.settings();
    let url = settings.sources["outage"]
        .url()
        .replace("postgres@", &format!("{user}:not-yet-right@"));
    settings.sources = BTreeMap::from([("outage".to_owned(), url.into())]);
    let running = world.start(settings);
    world.write(10).await;
    let reason = running.waits().await;
    let told = reason.contains("password") && reason.contains(&user);
    assert!(told && !reason.contains("not-yet-right"), "{reason}");
    let before = world.to_database.accepted();
    tokio::time::sleep(OUTAGE).await;
    let tried = world.to_database.accepted() - before;
    assert!((1..60).contains(&tried), "{tried} attempts in {OUTAGE:?}");
    let alter = format!("alter role {user} password 'not-yet-right'");
    sqlx::raw_sql(AssertSqlSafe(alter))
        .execute(pool)
        .await
        .unwrap();
    world.complete().await;
    running.stop().await;
    put_rules(pool, &rules).await;
    let drop = format!("drop owned by {user}; drop role {user}");
    sqlx::raw_sql(AssertSqlSafe(drop))
        .execute(pool)
        .await
        .unwrap();
}

/// Who may connect how, and that the server has taken it over.
async fn put_rules(pool: &sqlx::PgPool, rules: &str) {
    let file: String = sqlx::query_scalar("select current_setting('hba_file')")
        .fetch_one(pool)
        .await
        .unwrap();
    let lines = format!("select unnest(string_to_array($rules${rules}$rules$, e'\\n'))");
    let put = format!("copy ({lines}) to '{file}'; select pg_reload_conf()");
    let before: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("select pg_conf_load_time()")
        .fetch_one(pool)
        .await
        .unwrap();
    sqlx::raw_sql(AssertSqlSafe(put))
        .execute(pool)
        .await
        .unwrap();
    testkit::eventually("the rules", PATIENCE, async || {
        let loaded: chrono::DateTime<chrono::Utc> =
            sqlx::query_scalar("select pg_conf_load_time()")
                .fetch_one(pool)
                .await
                .unwrap();
        (loaded > before).then_some(())
    })
    .await;
}

/// A broker that lets it produce little makes it slow; it neither gives up nor starts anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_quota_makes_it_slow_and_nothing_else() {
    const BYTES_PER_SECOND: f64 = 10_000.0;
    let world = World::new().await;
    let mut settings = world.settings();
    let client = format!("{}relay", world.prefix);
    settings
        .kafka_properties
        .insert("client.id".to_owned(), client.clone());
    testkit::quota::limit_producing(&client, Some(BYTES_PER_SECOND)).await;
    let running = world.start(settings);
    world.write(10).await;
    world.complete().await;
    let (before, started) = (world.to_broker.accepted(), std::time::Instant::now());
    for _ in 0..3 {
        world.write_padded(100).await;
    }
    world.complete().await;
    let throttled = started.elapsed();
    assert!(throttled > Duration::from_secs(2), "{throttled:?}");
    // The reader may have the last row before the relay has the answer to its commit.
    running.runs().await;
    let tried = world.to_broker.accepted() - before;
    assert!(tried < 10, "{tried} new connections while it was slow");

    testkit::quota::limit_producing(&client, None).await;
    world.write_padded(100).await;
    world.complete().await;
    running.stop().await;
}
