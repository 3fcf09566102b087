//! The database under the cursor: restored from a dump, set back, its sequence reset; and the ways on, by the command line.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use outbox_relay::cursor::Cursor;
use serde_json::Value;
use sqlx::AssertSqlSafe;
use testkit::TestDb;

const PATIENCE: Duration = Duration::from_secs(60);
/// Transaction ids of the cluster that the dump comes from begin here.
const FAR: u64 = 1_000_000_000_000;

struct World {
    prefix: String,
    topic: String,
    port: u16,
    logs: tempfile::TempDir,
}

struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl World {
    async fn new() -> Self {
        let prefix = testkit::topic_prefix();
        let topic = format!("{prefix}events");
        testkit::kafka::create_topics(&[&topic], 1).await;
        Self {
            prefix,
            topic,
            port: testkit::free_port(),
            logs: tempfile::tempdir().unwrap(),
        }
    }

    fn start(&self, database: &TestDb) -> Served {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outbox-relay"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ONCEBOX_")) {
            command.env_remove(name);
        }
        let child = command
            .env("ONCEBOX_HTTP_ADDRESS", format!("127.0.0.1:{}", self.port))
            .env("ONCEBOX_TOKEN", "token")
            .env("ONCEBOX_KAFKA", testkit::kafka_address())
            .env("ONCEBOX_TOPIC_PREFIX", &self.prefix)
            .env("ONCEBOX_SOURCES__BENCH", database.url())
            .env("ONCEBOX_LOG_FORMAT", "text")
            .stdout(Stdio::null())
            .stderr(File::create(self.logs.path().join("relay")).unwrap())
            .spawn()
            .unwrap();
        Served(child)
    }

    async fn relay(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_relay"))
            .args(arguments)
            .env("RELAY_URL", format!("http://127.0.0.1:{}", self.port))
            .env("RELAY_TOKEN", "token")
            .env("RELAY_ACTOR", "kim")
            .output()
            .await
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code().unwrap(),
            text(&output.stdout),
            text(&output.stderr),
        )
    }

    async fn set(&self, arguments: &[&str]) {
        let (code, out, err) = self.relay(arguments).await;
        assert_eq!(code, 0, "{out}{err}");
    }

    async fn stopped(&self, code: &str) {
        testkit::eventually(code, PATIENCE, async || {
            let (_, out, _) = self.relay(&["status", "--json"]).await;
            let status: Value = serde_json::from_str(&out).ok()?;
            let reason = status[0]["reason"].as_str()?;
            (status[0]["state"] == "stopped" && reason.contains(code)).then_some(())
        })
        .await;
    }

    /// The values in the topic, once there are so many.
    async fn texts(&self, count: usize) -> Vec<String> {
        testkit::eventually(&format!("{count} records"), PATIENCE, async || {
            let records = testkit::kafka::read_committed(&self.topic).await;
            (records.len() >= count).then(|| {
                records
                    .iter()
                    .map(|record| String::from_utf8_lossy(record.value.as_ref().unwrap()).into())
                    .collect()
            })
        })
        .await
    }

    async fn insert(&self, database: &TestDb, texts: &[&str]) {
        for text in texts {
            sqlx::query(
                "insert into oncebox.outbox (event_id, topic, key, payload)
                 values (gen_random_uuid(), $1, 'k', convert_to($2, 'utf8'))",
            )
            .bind(&self.topic)
            .bind(text)
            .execute(database.pool())
            .await
            .unwrap();
        }
    }

    /// A database with five published rows whose cursor's copy says so, and two rows that came after it.
    async fn published_five_of_seven(&self) -> TestDb {
        let database = TestDb::new("cursor").await;
        let served = self.start(&database);
        self.insert(&database, &["1", "2", "3", "4", "5"]).await;
        self.texts(5).await;
        testkit::eventually("the copy", PATIENCE, async || {
            (copy_of(&database).await?.last_seq == 5).then_some(())
        })
        .await;
        drop(served);
        self.insert(&database, &["6", "7"]).await;
        database
    }
}

async fn copy_of(database: &TestDb) -> Option<Cursor> {
    let row: Option<(sqlx::types::Json<Cursor>,)> =
        sqlx::query_as("select cursor from oncebox.relay_cursor")
            .fetch_optional(database.pool())
            .await
            .unwrap();
    row.map(|(cursor,)| cursor.0)
}

/// What a dump carries over: rows with their transaction ids, the copy of the cursor, the sequence. With `far` as from
/// another cluster, whose transaction ids are far ahead.
async fn restored(from: &TestDb, far: bool) -> TestDb {
    let to = TestDb::new("restored").await;
    let rows: Vec<(String, i64, String, Vec<u8>)> =
        sqlx::query_as("select topic, seq, xid::text, payload from oncebox.outbox order by seq")
            .fetch_all(from.pool())
            .await
            .unwrap();
    let mut copy = copy_of(from).await.unwrap();
    if far {
        copy.identity.system = "1".into();
        let xmax = copy.settled.xmax() + FAR;
        copy.settled = format!("{xmax}:{xmax}:").parse().unwrap();
    }
    sqlx::query("insert into oncebox.relay_cursor (shard, cursor) values (0, $1)")
        .bind(sqlx::types::Json(copy))
        .execute(to.pool())
        .await
        .unwrap();
    let moved = |xid: &str| (xid.parse::<u64>().unwrap() + if far { FAR } else { 0 }).to_string();
    for (topic, seq, xid, payload) in rows {
        sqlx::query(
            "insert into oncebox.outbox (event_id, topic, key, payload, seq, xid, created_at)
             select gen_random_uuid(), $1, 'k', $2, $3, $4::text::xid8, updated_at - interval '1 second'
             from oncebox.relay_cursor",
        )
        .bind(topic)
        .bind(payload)
        .bind(seq)
        .bind(moved(&xid))
        .execute(to.pool())
        .await
        .unwrap();
    }
    sqlx::raw_sql("select setval('oncebox.outbox_seq', 7)")
        .execute(to.pool())
        .await
        .unwrap();
    to
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_is_refused_and_adopted_without_loss_or_repetition() {
    for far in [false, true] {
        let world = World::new().await;
        let before = world.published_five_of_seven().await;
        let after = restored(&before, far).await;
        // A service that is back before the relay.
        world.insert(&after, &["8"]).await;
        let _served = world.start(&after);
        world.stopped("relay.wrong_database").await;
        assert_eq!(world.texts(0).await.len(), 5, "nothing before it is told");
        let (_, shown, _) = world.relay(&["cursor", "show"]).await;
        assert!(shown.contains("beside the outbox, of "), "{shown}");
        world
            .set(&["cursor", "adopt", "--reason", "restored"])
            .await;
        assert_eq!(world.texts(8).await[5..], ["6", "7", "8"], "far: {far}");
        world.insert(&after, &["9"]).await;
        assert_eq!(world.texts(9).await[8..], ["9"]);
        // Given again, it publishes nothing again.
        let copied = testkit::eventually("the copy", PATIENCE, async || {
            copy_of(&after).await.filter(|copy| copy.last_seq >= 9)
        })
        .await;
        assert!(copied.settled.xmax() < FAR);
        world.set(&["cursor", "adopt", "--reason", "again"]).await;
        world.insert(&after, &["10"]).await;
        assert_eq!(world.texts(10).await[9..], ["10"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_restored_database_all_or_nothing_may_be_published_again() {
    for far in [false, true] {
        let world = World::new().await;
        let before = world.published_five_of_seven().await;
        let after = restored(&before, far).await;
        let served = world.start(&after);
        world.stopped("relay.wrong_database").await;
        world
            .set(&["cursor", "set", "--at", "now", "--reason", "not needed"])
            .await;
        world.insert(&after, &["8"]).await;
        assert_eq!(world.texts(6).await[5..], ["8"], "far: {far}");
        drop(served);
        let again = restored(&before, far).await;
        let _served = world.start(&again);
        world.stopped("relay.wrong_database").await;
        world
            .set(&["cursor", "set", "--at", "begin", "--reason", "all of it"])
            .await;
        let texts = world.texts(13).await;
        assert_eq!(
            texts[6..],
            ["1", "2", "3", "4", "5", "6", "7"],
            "far: {far}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_that_was_set_back_is_noticed_before_anything_is_published() {
    let world = World::new().await;
    let database = TestDb::new("cursor").await;
    let _served = world.start(&database);
    world.insert(&database, &["1", "2", "3"]).await;
    world.texts(3).await;
    sqlx::raw_sql(AssertSqlSafe(
        "truncate oncebox.outbox restart identity".to_owned(),
    ))
    .execute(database.pool())
    .await
    .unwrap();
    world.insert(&database, &["4"]).await;
    world.stopped("relay.sequence_behind").await;
    assert_eq!(world.texts(0).await.len(), 3);
    world
        .set(&["cursor", "set", "--at", "begin", "--reason", "truncated"])
        .await;
    world.insert(&database, &["5"]).await;
    assert_eq!(world.texts(5).await[3..], ["4", "5"]);
    let (_, audit, _) = world.relay(&["audit"]).await;
    assert!(
        audit.contains("cursor begin") && audit.contains("kim"),
        "{audit}"
    );
}
