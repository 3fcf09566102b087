//! Several relays on one source, as processes: one publishes, the others stand by and take over.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashSet;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::TestDb;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    database: TestDb,
    prefix: String,
    topic: String,
}

/// A relay as a process; killed when the test ends, however it ends.
struct RelayProcess(Child);

impl World {
    async fn new() -> Self {
        let (database, prefix) = (TestDb::new("leases").await, testkit::topic_prefix());
        let topic = format!("{prefix}events");
        testkit::kafka::create_topics(&[&topic], 3).await;
        Self {
            database,
            prefix,
            topic,
        }
    }

    fn start(&self) -> RelayProcess {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outbox-relay"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ONCEBOX_")) {
            command.env_remove(name);
        }
        let child = command
            .env("ONCEBOX_HTTP_ADDRESS", "127.0.0.1:0")
            .env("ONCEBOX_KAFKA", testkit::kafka_address())
            .env("ONCEBOX_TOPIC_PREFIX", &self.prefix)
            .env("ONCEBOX_SOURCES__BENCH", self.database.url())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        RelayProcess(child)
    }

    async fn insert(&self) -> Uuid {
        let id = Uuid::now_v7();
        sqlx::query(
            "insert into oncebox.outbox (event_id, topic, key, payload, headers)
             values ($1, $2, 'k', 'x', jsonb_build_object('id', $1::text))",
        )
        .bind(id)
        .bind(&self.topic)
        .execute(self.database.pool())
        .await
        .unwrap();
        id
    }

    /// Process number of whoever has the lease.
    async fn holder(&self) -> Option<u32> {
        let holder: Option<String> = sqlx::query_scalar(
            "select holder from oncebox.relay_lease where expires_at > clock_timestamp()",
        )
        .fetch_optional(self.database.pool())
        .await
        .unwrap();
        holder?.rsplit_once('/')?.1.parse().ok()
    }

    async fn held_by(&self, relay: &RelayProcess) {
        testkit::eventually("the lease", PATIENCE, async || {
            (self.holder().await == Some(relay.0.id())).then_some(())
        })
        .await;
    }

    /// Inserts a row and waits until it is out.
    async fn passes(&self, sent: &mut Vec<Uuid>) {
        sent.push(self.insert().await);
        testkit::eventually("the row", PATIENCE, async || {
            (self.ids().await.len() >= sent.len()).then_some(())
        })
        .await;
    }

    async fn ids(&self) -> Vec<Uuid> {
        testkit::kafka::read_committed(&self.topic)
            .await
            .iter()
            .map(|record| record.headers.get_str("id").unwrap().parse().unwrap())
            .collect()
    }

    async fn check(&self, sent: &[Uuid]) {
        let ids = self.ids().await;
        assert_eq!(ids.len(), sent.len(), "each once");
        assert_eq!(
            ids.into_iter().collect::<HashSet<_>>(),
            sent.iter().copied().collect()
        );
    }
}

impl RelayProcess {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for RelayProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_moves_within_five_seconds_of_a_kill_and_one_of_a_stop() {
    let (world, mut sent) = (World::new().await, Vec::new());
    let first = world.start();
    world.held_by(&first).await;
    world.passes(&mut sent).await;
    let second = world.start();
    // It stands by: the first keeps the lease over several times its duration.
    let watched = Instant::now();
    while watched.elapsed() < Duration::from_secs(4) {
        world.passes(&mut sent).await;
        assert_eq!(world.holder().await, Some(first.0.id()));
    }

    drop(first);
    let took = moved(&world, &second).await;
    assert!(took < Duration::from_secs(5), "{took:?} after kill -9");
    world.passes(&mut sent).await;

    let third = world.start();
    // Started, and standing by: its connection to the database is there.
    testkit::eventually("the third looks at the lease", PATIENCE, async || {
        let looking: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity
             where datname = current_database() and application_name = 'outbox-relay' and query like '%relay_lease%'",
        )
        .fetch_one(world.database.pool())
        .await
        .unwrap();
        (looking >= 2).then_some(())
    })
    .await;
    second.signal(Signal::SIGTERM);
    let took = moved(&world, &third).await;
    assert!(took < Duration::from_secs(1), "{took:?} after SIGTERM");
    world.passes(&mut sent).await;
    world.check(&sent).await;
}

async fn moved(world: &World, to: &RelayProcess) -> Duration {
    let started = Instant::now();
    world.held_by(to).await;
    started.elapsed()
}

/// Started again on the same host, a relay does not wait for the lease of its predecessor that was killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_relay_that_is_started_again_goes_on_at_once() {
    let (world, mut sent) = (World::new().await, Vec::new());
    let first = world.start();
    world.passes(&mut sent).await;
    drop(first);
    let second = world.start();
    let took = moved(&world, &second).await;
    // A lease would last three, and is taken from the dead within tenths.
    assert!(took < Duration::from_secs(2), "{took:?} after the restart");
    world.passes(&mut sent).await;
    world.check(&sent).await;
}

/// A relay that slept through the end of its lease finds it gone and stands by; nothing is doubled.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_slept_through_its_lease_stands_by() {
    let (world, mut sent) = (World::new().await, Vec::new());
    let first = world.start();
    world.passes(&mut sent).await;
    let second = world.start();
    first.signal(Signal::SIGSTOP);
    world.passes(&mut sent).await;
    world.held_by(&second).await;
    first.signal(Signal::SIGCONT);
    for _ in 0..20 {
        world.passes(&mut sent).await;
    }
    world.held_by(&second).await;
    // It is there to take over again.
    drop(second);
    world.passes(&mut sent).await;
    world.held_by(&first).await;
    world.check(&sent).await;
}
