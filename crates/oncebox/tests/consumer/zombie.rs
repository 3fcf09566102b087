//! A process that slept through a rebalance and wakes commits nothing, wherever it slept.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::Pid;
use oncebox::{
    Codec, Consumer, ConsumerSettings, Delivery, Each, ErrorClass, Failure, Handler, RetryPolicy,
};
use sqlx::PgConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use testkit::eventually;
use tokio_util::sync::CancellationToken;

use crate::rig::{GROUP, LONG, Note, Rig};
use crate::script::{Act, Scripted, text};

const DATABASE: &str = "ZOMBIE_DATABASE";
const PREFIX: &str = "ZOMBIE_PREFIX";
const ASLEEP_IN: &str = "ZOMBIE_ASLEEP_IN";
const SESSION: &str = "6000";

#[tokio::test(flavor = "multi_thread")]
async fn asleep_before_its_transaction_it_commits_nothing() {
    frozen_and_woken("prepare", Told::ByTheGroup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asleep_inside_its_transaction_it_commits_nothing_and_holds_nobody_up() {
    frozen_and_woken("handle", Told::ByTheGroup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asleep_before_its_transaction_and_told_by_nobody_it_commits_nothing() {
    frozen_and_woken("prepare", Told::ByTheDatabase).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asleep_inside_its_transaction_and_told_by_nobody_it_commits_nothing() {
    frozen_and_woken("handle", Told::ByTheDatabase).await;
}

/// How a woken process learns that it was replaced.
#[derive(Clone, Copy, PartialEq)]
enum Told {
    /// A rebalance, which ends its work at once where it notices before it commits.
    ByTheGroup,
    /// Nothing but the epoch: its own group at the broker still gives it the partition.
    ByTheDatabase,
}

async fn frozen_and_woken(asleep_in: &str, told: Told) {
    let mut rig = Rig::new("zombie", 1).await;
    sqlx::query("alter table effects add column by text not null default current_setting('application_name')")
        .execute(rig.pool())
        .await
        .unwrap();
    rig.settings.retry = RetryPolicy {
        retries: 10_000,
        first_delay_ms: 50,
        max_delay_ms: 100,
        ..RetryPolicy::default()
    };
    let mut other = Other::start(&rig, asleep_in);
    rig.note(0, "k", "first").await;
    rig.effect("first").await;
    rig.note(0, "k", "freeze").await;
    rig.note(0, "k", "after").await;
    eventually("the other process to sleep", LONG, async || {
        other.is_stopped().then_some(())
    })
    .await;

    if told == Told::ByTheDatabase {
        let group = format!("{}successor", rig.settings.topic_prefix);
        rig.settings.kafka.insert("group.id".into(), group);
    }
    // The new owner cannot handle the record yet: nothing but the epoch keeps the sleeper's effects out.
    let broken = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&broken);
    let consumer = rig.start(&Scripted::new(move |delivery, _| {
        if text(delivery) == "freeze" && seen.load(Ordering::SeqCst) {
            Act::Fail(ErrorClass::Transient)
        } else {
            Act::Succeed
        }
    }));
    eventually("the new owner to park both", LONG * 2, async || {
        let keys = rig.parking().keys(10).await.unwrap();
        keys.first().is_some_and(|key| key.depth == 2).then_some(())
    })
    .await;
    kill(other.pid(), Signal::SIGCONT).unwrap();
    eventually("the woken process to notice", LONG, async || {
        other.child.try_wait().unwrap()
    })
    .await;
    if told == Told::ByTheDatabase {
        assert!(other.log().contains("superseded"), "{}", other.log());
    }
    rig.note(0, "another", "passes").await;
    rig.effect("passes").await;
    assert_eq!(by(&rig, "zombie").await, ["first"]);
    broken.store(false, Ordering::SeqCst);
    rig.effect("after").await;
    rig.settled().await;
    consumer.stop().await;
    assert_eq!(rig.effects().await, ["first", "passes", "freeze", "after"]);
    assert_eq!(by(&rig, "zombie").await, ["first"]);
    assert!(rig.letters().await.is_empty());
}

async fn by(rig: &Rig, process: &str) -> Vec<String> {
    sqlx::query_scalar("select text from effects where by = $1 order by at")
        .bind(process)
        .fetch_all(rig.pool())
        .await
        .unwrap()
}

/// This test binary as another process, which runs [`the_other_process`].
struct Other {
    child: Child,
    log: tempfile::NamedTempFile,
}

impl Other {
    fn start(rig: &Rig, asleep_in: &str) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        let output = File::create(log.path()).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "zombie::the_other_process",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env(DATABASE, rig.database.url())
            .env(PREFIX, &rig.settings.topic_prefix)
            .env(ASLEEP_IN, asleep_in)
            .stdout(Stdio::from(output.try_clone().unwrap()))
            .stderr(Stdio::from(output))
            .spawn()
            .unwrap();
        Self { child, log }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }

    /// The state after the name in parentheses (proc(5)).
    fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        stat.rsplit_once(") ").unwrap().1.starts_with('T')
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the other process: {}", self.log());
        }
    }
}

/// Stops its own process at the record that says so.
struct Freezes(String);

impl Freezes {
    fn sleep_in(&self, place: &str, delivery: &Delivery<Note>) {
        if self.0 == place && text(delivery) == "freeze" {
            // To this very thread, which must not run on until another takes the signal.
            raise(Signal::SIGSTOP).unwrap();
        }
    }
}

#[async_trait]
impl Handler for Freezes {
    type Message = Note;

    async fn prepare(&self, delivery: &Delivery<Note>) -> Result<(), Failure> {
        self.sleep_in("prepare", delivery);
        Ok(())
    }

    async fn handle(
        &self,
        tx: &mut PgConnection,
        delivery: &Delivery<Note>,
    ) -> Result<(), Failure> {
        Scripted::succeed().handle(tx, delivery).await?;
        self.sleep_in("handle", delivery);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the process that the tests of this room put to sleep"]
async fn the_other_process() {
    let (Ok(database), Ok(prefix)) = (std::env::var(DATABASE), std::env::var(PREFIX)) else {
        return;
    };
    let options: PgConnectOptions = database.parse().unwrap();
    let pool = PgPoolOptions::new()
        .connect_with(options.application_name("zombie"))
        .await
        .unwrap();
    let mut settings = ConsumerSettings::new(testkit::kafka_address(), GROUP, ["notes"]);
    settings.topic_prefix = prefix;
    settings
        .kafka
        .insert("session.timeout.ms".into(), SESSION.into());
    let codec = Codec::new(&testkit::registry_address(), None).unwrap();
    let handler = Freezes(std::env::var(ASLEEP_IN).unwrap());
    let consumer = Consumer::new(settings, pool, codec, "1", Each(handler));
    let health = consumer.health();
    let running = tokio::spawn(consumer.run(CancellationToken::new()));
    let mut owned = false;
    loop {
        let status = health.status();
        let outage = status.outage.unwrap_or_default();
        if outage.contains("consumer.superseded") {
            println!("superseded");
            std::process::exit(0);
        }
        // It must not be given the partition anew: what it did then would be its right.
        if owned && status.assigned_partitions == 0 {
            println!("lost");
            std::process::exit(0);
        }
        owned |= status.assigned_partitions > 0;
        assert!(!running.is_finished(), "the consumer ended");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
