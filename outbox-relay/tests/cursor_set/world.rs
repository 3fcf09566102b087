//! A topic and a relay process of a test's own, and the relay's command line.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use outbox_relay::cursor::Cursor;
use serde_json::Value;
use sqlx::PgPool;
use testkit::TestDb;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    prefix: String,
    topic: String,
    port: u16,
    logs: tempfile::TempDir,
}

pub(crate) struct Served(Child);

impl Served {
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl World {
    pub(crate) async fn new() -> Self {
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

    pub(crate) fn start(&self, url: &str) -> Served {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outbox-relay"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ONCEBOX_")) {
            command.env_remove(name);
        }
        let child = command
            .env("ONCEBOX_HTTP_ADDRESS", format!("127.0.0.1:{}", self.port))
            .env("ONCEBOX_TOKEN", "token")
            .env("ONCEBOX_KAFKA", testkit::kafka_address())
            .env("ONCEBOX_TOPIC_PREFIX", &self.prefix)
            .env("ONCEBOX_SOURCES__BENCH", url)
            .env("ONCEBOX_LOG_FORMAT", "text")
            .stdout(Stdio::null())
            .stderr(File::create(self.logs.path().join("relay")).unwrap())
            .spawn()
            .unwrap();
        Served(child)
    }

    pub(crate) async fn relay(&self, arguments: &[&str]) -> (i32, String, String) {
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

    pub(crate) async fn set(&self, arguments: &[&str]) {
        let (code, out, err) = self.relay(arguments).await;
        assert_eq!(code, 0, "{out}{err}");
    }

    pub(crate) async fn stopped(&self, code: &str) {
        testkit::eventually(code, PATIENCE, async || {
            let (_, out, _) = self.relay(&["status", "--json"]).await;
            let status: Value = serde_json::from_str(&out).ok()?;
            let reason = status[0]["reason"].as_str()?;
            (status[0]["state"] == "stopped" && reason.contains(code)).then_some(())
        })
        .await;
    }

    /// The values in the topic, once there are so many.
    pub(crate) async fn texts(&self, count: usize) -> Vec<String> {
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

    pub(crate) async fn insert(&self, pool: &PgPool, texts: &[&str]) {
        for text in texts {
            sqlx::query(
                "insert into oncebox.outbox (event_id, topic, key, payload)
                 values (gen_random_uuid(), $1, 'k', convert_to($2, 'utf8'))",
            )
            .bind(&self.topic)
            .bind(text)
            .execute(pool)
            .await
            .unwrap();
        }
    }

    /// A database with five published rows whose cursor's copy says so, and two rows that came after it.
    pub(crate) async fn published_five_of_seven(&self) -> TestDb {
        let database = TestDb::new("cursor").await;
        let served = self.start(database.url());
        self.insert(database.pool(), &["1", "2", "3", "4", "5"])
            .await;
        self.texts(5).await;
        testkit::eventually("the copy", PATIENCE, async || {
            (copy_of(database.pool()).await?.last_seq == 5).then_some(())
        })
        .await;
        drop(served);
        self.insert(database.pool(), &["6", "7"]).await;
        database
    }
}

pub(crate) async fn copy_of(pool: &PgPool) -> Option<Cursor> {
    let row: Option<(sqlx::types::Json<Cursor>,)> =
        sqlx::query_as("select cursor from oncebox.relay_cursor")
            .fetch_optional(pool)
            .await
            .unwrap();
    row.map(|(cursor,)| cursor.0)
}
