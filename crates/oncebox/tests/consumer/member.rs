//! A member of the group as a process of its own, so that it can be killed: this test binary, started again.

use std::fs::File;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use oncebox::{
    BatchFailure, BatchHandler, Codec, Consumer, ConsumerSettings, Delivery, ErrorClass, Failure,
    RetryPolicy,
};
use sqlx::PgConnection;
use sqlx::postgres::PgPoolOptions;
use tokio_util::sync::CancellationToken;

use crate::rig::{GROUP, Note, Rig, no_guard};
use crate::script::text;

const DATABASE: &str = "MEMBER_DATABASE";
const PREFIX: &str = "MEMBER_PREFIX";
/// The shortest that brokers allow by default.
const SESSION_MS: &str = "6000";

/// Dropped, it is killed.
pub(crate) struct Member {
    child: Child,
    log: tempfile::NamedTempFile,
}

impl Member {
    pub(crate) fn start(rig: &Rig) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        let output = File::create(log.path()).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["member::the_member", "--exact", "--ignored", "--nocapture"])
            .env(DATABASE, rig.database.url())
            .env(PREFIX, &rig.settings.topic_prefix)
            .stdout(Stdio::from(output.try_clone().unwrap()))
            .stderr(Stdio::from(output))
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// SIGTERM.
    pub(crate) fn ask_to_end(&self) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    }

    /// How it ended, once it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// kill -9.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("a member: {}", self.log());
        }
    }
}

/// The tables that a member needs beside the rig's: the second half of each effect, and whether bad records fail.
pub(crate) async fn tables(rig: &Rig) {
    sqlx::raw_sql(
        "create table halves (event_id uuid not null);
         create table broken (since timestamptz not null default now())",
    )
    .execute(rig.pool())
    .await
    .unwrap();
}

/// Writes each effect in two halves, a statement each. Records whose text begins with "bad" fail while `broken` has a row.
struct Halves;

#[async_trait]
impl BatchHandler for Halves {
    type Message = Note;

    async fn handle(
        &self,
        tx: &mut PgConnection,
        batch: &[Delivery<Note>],
    ) -> Result<(), BatchFailure> {
        let bad = |delivery: &Delivery<Note>| text(delivery).starts_with("bad");
        if batch.iter().any(bad) {
            let broken: bool = sqlx::query_scalar("select exists (select from broken)")
                .fetch_one(&mut *tx)
                .await?;
            if broken {
                let named = batch.iter().enumerate().filter(|(_, one)| bad(one));
                let failure = |(index, _)| {
                    let (class, code) = (ErrorClass::Transient, "test.broken");
                    (index, Failure::new(class, code, "broken"))
                };
                return Err(BatchFailure::Records(named.map(failure).collect()));
            }
        }
        let ids: Vec<_> = batch.iter().map(|one| one.event_id.as_uuid()).collect();
        let keys: Vec<_> = batch
            .iter()
            .map(|one| one.record.key.as_ref().map(|key| key.to_vec()))
            .collect();
        let texts: Vec<_> = batch.iter().map(|one| text(one).to_owned()).collect();
        let partitions: Vec<_> = batch.iter().map(|one| one.record.partition).collect();
        let offsets: Vec<_> = batch.iter().map(|one| one.record.offset).collect();
        sqlx::query(
            "insert into effects (event_id, key, text, partition, record_offset)
             select * from unnest($1::uuid[], $2::bytea[], $3::text[], $4::integer[], $5::bigint[])",
        )
        .bind(&ids)
        .bind(keys)
        .bind(texts)
        .bind(partitions)
        .bind(offsets)
        .execute(&mut *tx)
        .await?;
        sqlx::query("insert into halves select unnest($1::uuid[])")
            .bind(ids)
            .execute(tx)
            .await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that other tests start"]
async fn the_member() {
    let (Ok(database), Ok(prefix)) = (std::env::var(DATABASE), std::env::var(PREFIX)) else {
        return;
    };
    let pool = PgPoolOptions::new()
        .max_connections(6)
        .connect(&database)
        .await
        .unwrap();
    let mut settings = ConsumerSettings::new(testkit::kafka_address(), GROUP, ["notes"]);
    settings.topic_prefix = prefix;
    settings.flood = no_guard();
    settings.retry = RetryPolicy {
        retries: 100_000,
        first_delay_ms: 20,
        max_delay_ms: 100,
        ..RetryPolicy::default()
    };
    settings
        .kafka
        .insert("session.timeout.ms".into(), SESSION_MS.into());
    settings
        .kafka
        .insert("heartbeat.interval.ms".into(), "1000".into());
    let codec = Codec::new(&testkit::registry_address(), None).unwrap();
    let consumer = Consumer::new(settings, pool, codec, "1", Halves);
    let stop = CancellationToken::new();
    let running = tokio::spawn(consumer.run(stop.clone()));
    let mut terminate =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
    // Its parent may die without a word.
    let orphaned = async {
        let parent = nix::unistd::getppid();
        while nix::unistd::getppid() == parent {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        () = orphaned => std::process::exit(1),
    }
    stop.cancel();
    running.await.unwrap().unwrap();
}
