//! G2 to G4 at every point where a relay can die or stall: killed there, or frozen and woken after another took over.
//!
//! The cases come from `Point::ALL`, so a point that is added is attacked without a line here.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures::StreamExt as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use oncebox::Record;
use outbox_relay::failpoint::{Point, Role, VARIABLE};
use testkit::TestDb;

const PATIENCE: Duration = Duration::from_secs(60);
/// Transactions that wait, of ten rows; a batch of the relay takes two.
const TRANSACTIONS: usize = 20;
const KEYS: usize = 7;
/// Keys of rows that are refused.
const REFUSED_KEYS: usize = 2;
/// Cases that run at the same time.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_point_nothing_is_lost_or_doubled() {
    every_point(publishes, |point| async move {
        let world = World::new().await;
        world.write(0..TRANSACTIONS).await;
        let mut first = world.start("first", Some((point, "kill")));
        let status = testkit::eventually("the kill", PATIENCE, async || {
            first.child.try_wait().unwrap()
        })
        .await;
        assert_eq!(
            status.signal(),
            Some(9),
            "{}: {}",
            point.name(),
            first.log()
        );
        let _second = world.start("second", None);
        world.write(TRANSACTIONS..TRANSACTIONS + 2).await;
        world.check(point, TRANSACTIONS + 2).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_at_every_point_and_woken_nothing_is_lost_or_doubled() {
    every_point(publishes, |point| async move {
        let world = World::new().await;
        world.write(0..TRANSACTIONS).await;
        let first = world.start("first", Some((point, "stop")));
        testkit::eventually("the freeze", PATIENCE, async || {
            first.is_stopped().then_some(())
        })
        .await;
        let second = world.start("second", None);
        world.write(TRANSACTIONS..TRANSACTIONS + 2).await;
        world.check(point, TRANSACTIONS + 2).await;
        kill(first.pid(), Signal::SIGCONT).unwrap();
        // Who was refused finds out when it publishes, so there has to be something to publish.
        let mut written = TRANSACTIONS + 2;
        let what = format!("one of the two is fenced, {}", point.name());
        testkit::eventually(&what, PATIENCE, async || {
            world.write(written..written + 1).await;
            written += 1;
            (first.is_fenced() || second.is_fenced()).then_some(())
        })
        .await;
        // One that was frozen while it took over goes on taking over, and the later of two takers wins. Any other is
        // refused by the broker, not by its own goodwill.
        if point.role() != Role::TakeOver {
            assert!(first.is_fenced(), "{}: {}", point.name(), second.log());
        }
        world.write(written..written + 2).await;
        world.check(point, written + 2).await;
        assert!(
            !(first.is_fenced() && second.is_fenced()),
            "{}",
            point.name()
        );
    })
    .await;
}

/// The same with rows that the broker refuses for a while: their topic is made only later.
#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_parks_or_releases_nothing_is_lost_or_doubled() {
    every_point(parks, |point| async move {
        let world = World::new().await;
        world.write_refused(0..6).await;
        let mut first = world.start("first", Some((point, "kill")));
        if point.role() == Role::Release {
            world.parked(6).await;
            world.make_late_topic().await;
        }
        testkit::eventually("the kill", PATIENCE, async || {
            first.child.try_wait().unwrap()
        })
        .await;
        let _second = world.start("second", None);
        world.write_refused(6..9).await;
        world.make_late_topic().await;
        world.check_late(point, 9).await;
        world.parked(0).await;
        world.write(0..1).await;
        world.check(point, 1).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_while_it_parks_or_releases_and_woken_nothing_is_lost_or_doubled() {
    every_point(parks, |point| async move {
        let world = World::new().await;
        world.write_refused(0..6).await;
        let first = world.start("first", Some((point, "stop")));
        if point.role() == Role::Release {
            world.parked(6).await;
            world.make_late_topic().await;
        }
        testkit::eventually("the freeze", PATIENCE, async || {
            first.is_stopped().then_some(())
        })
        .await;
        let second = world.start("second", None);
        world.write_refused(6..9).await;
        world.make_late_topic().await;
        world.check_late(point, 9).await;
        kill(first.pid(), Signal::SIGCONT).unwrap();
        let mut written = 0;
        testkit::eventually("the first is fenced", PATIENCE, async || {
            world.write(written..written + 1).await;
            written += 1;
            first.is_fenced().then_some(())
        })
        .await;
        assert!(!second.is_fenced(), "{}: {}", point.name(), second.log());
        world.write_refused(9..10).await;
        world.check_late(point, 10).await;
        world.check(point, written).await;
        world.parked(0).await;
    })
    .await;
}

fn parks(point: Point) -> bool {
    matches!(point.role(), Role::Park | Role::Release)
}

/// Dividing a source has its own tests, in `shards.rs`.
fn publishes(point: Point) -> bool {
    !parks(point) && point.role() != Role::Divide
}

async fn every_point<F: Future<Output = ()>>(
    which: impl Fn(Point) -> bool,
    case: impl Fn(Point) -> F,
) {
    let points: Vec<_> = Point::ALL
        .iter()
        .copied()
        .filter(|point| which(*point))
        .collect();
    assert!(!points.is_empty());
    futures::stream::iter(points)
        .map(case)
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
}

/// A source with a topic of its own, and the relays on it.
struct World {
    database: TestDb,
    prefix: String,
    topic: String,
    logs: tempfile::TempDir,
}

/// A relay as a process; killed when the test ends, however it ends.
struct RelayProcess {
    child: Child,
    log: PathBuf,
}

impl World {
    async fn new() -> Self {
        let (database, prefix) = (TestDb::new("failpoint").await, testkit::topic_prefix());
        let topic = format!("{prefix}events");
        testkit::kafka::create_topics(&[&topic], 3).await;
        let logs = tempfile::tempdir().unwrap();
        Self {
            database,
            prefix,
            topic,
            logs,
        }
    }

    fn start(&self, name: &str, failpoint: Option<(Point, &str)>) -> RelayProcess {
        let log = self.logs.path().join(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_outbox-relay"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ONCEBOX_")) {
            command.env_remove(name);
        }
        if let Some((point, action)) = failpoint {
            // In the middle of the work, where there is a middle.
            let hit = match point.role() {
                Role::TakeOver | Role::Observer | Role::Park | Role::Release | Role::Divide => 1,
                // After a second and a half: when it has taken over.
                Role::Lease => 5,
                Role::Batch => 3,
                Role::Row => 47,
            };
            command.env(VARIABLE, format!("{}={action}@{hit}", point.name()));
        }
        let lease_seconds = match failpoint {
            Some((point, _)) if point.role() == Role::Lease => "1",
            _ => "0",
        };
        let child = command
            .env("ONCEBOX_HTTP_ADDRESS", "127.0.0.1:0")
            .env("ONCEBOX_KAFKA", testkit::kafka_address())
            .env("ONCEBOX_TOPIC_PREFIX", &self.prefix)
            .env("ONCEBOX_SOURCES__BENCH", self.database.url())
            .env("ONCEBOX_BATCH_ROWS", "20")
            .env("ONCEBOX_REFUSED_RETRY_MS", "100")
            // Without a lease to wait for, the second takes over at once: it is the broker that stops the first.
            .env("ONCEBOX_LEASE_SECONDS", lease_seconds)
            .env("ONCEBOX_LOG_FORMAT", "text")
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        RelayProcess { child, log }
    }

    /// Commits transactions of ten rows, each row numbered within its key in commit order.
    async fn write(&self, transactions: std::ops::Range<usize>) {
        for transaction in transactions {
            sqlx::query(
                "insert into oncebox.outbox (event_id, topic, key, payload, headers)
                 select id, $1, convert_to((n % $4)::text, 'utf8'), convert_to((n / $4)::text, 'utf8'),
                        jsonb_build_object('id', id::text)
                 from (select n, gen_random_uuid() as id from generate_series($2, $3) n) as rows order by n",
            )
            .bind(&self.topic)
            .bind(i32::try_from(transaction * 10).unwrap())
            .bind(i32::try_from(transaction * 10 + 9).unwrap())
            .bind(i32::try_from(KEYS).unwrap())
            .execute(self.database.pool())
            .await
            .unwrap();
        }
    }

    fn late_topic(&self) -> String {
        format!("{}late", self.prefix)
    }

    async fn make_late_topic(&self) {
        testkit::kafka::create_topics(&[&self.late_topic()], 3).await;
    }

    /// Commits rows for a topic that is not there yet, each numbered within its key.
    async fn write_refused(&self, rows: std::ops::Range<usize>) {
        for row in rows {
            let (key, number) = (row % REFUSED_KEYS, row / REFUSED_KEYS);
            sqlx::query(
                "insert into oncebox.outbox (event_id, topic, key, payload, headers)
                 select id, $1, convert_to($2, 'utf8'), convert_to($3, 'utf8'), jsonb_build_object('id', id::text)
                 from (select gen_random_uuid() as id) as row",
            )
            .bind(self.late_topic())
            .bind(key.to_string())
            .bind(number.to_string())
            .execute(self.database.pool())
            .await
            .unwrap();
        }
    }

    async fn parked(&self, count: i64) {
        testkit::eventually(&format!("{count} parked"), PATIENCE, async || {
            let rows: i64 = sqlx::query_scalar("select count(*) from oncebox.relay_parked")
                .fetch_one(self.database.pool())
                .await
                .unwrap();
            (rows == count).then_some(())
        })
        .await;
    }

    async fn check_late(&self, point: Point, rows: usize) {
        check_rows(point, &self.late_topic(), rows).await;
    }

    /// Waits for all rows of so many transactions: none missing, none twice, each key in commit order.
    async fn check(&self, point: Point, transactions: usize) {
        check_rows(point, &self.topic, transactions * 10).await;
    }
}

async fn check_rows(point: Point, topic: &str, rows: usize) {
    let what = format!("{rows} records, {}", point.name());
    let records = testkit::eventually(&what, PATIENCE, async || {
        let records = testkit::kafka::read_committed(topic).await;
        (records.len() >= rows).then_some(records)
    })
    .await;
    let ids: HashSet<_> = records
        .iter()
        .map(|record| text(record.headers.get("id")))
        .collect();
    assert_eq!((records.len(), ids.len()), (rows, rows), "{}", point.name());
    check_order(point, &records);
}

fn check_order(point: Point, records: &[Record]) {
    let mut next: HashMap<String, usize> = HashMap::new();
    for record in records {
        let expected = next.entry(text(record.key.as_deref())).or_default();
        let number: usize = text(record.value.as_deref()).parse().unwrap();
        assert_eq!(number, *expected, "{}: key {:?}", point.name(), record.key);
        *expected += 1;
    }
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8(bytes.unwrap().to_vec()).unwrap()
}

impl RelayProcess {
    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn is_fenced(&self) -> bool {
        self.log().contains("relay.fenced")
    }

    /// Whether the kernel holds it stopped: the state after the name in parentheses (proc(5)).
    fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        stat.rsplit_once(") ").unwrap().1.starts_with('T')
    }
}

impl Drop for RelayProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}:\n{}", self.log.display(), self.log());
        }
    }
}
