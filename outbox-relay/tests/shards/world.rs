//! A source, the rows that are written to it, and the relays on it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use outbox_relay::failpoint::{Point, VARIABLE};
use testkit::TestDb;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const KEYS: usize = 40;
const TOKEN: &str = "shards";

/// A source with a topic of its own.
pub(crate) struct World {
    pub(crate) database: TestDb,
    pub(crate) prefix: String,
    pub(crate) topic: String,
    /// Rows that were committed.
    pub(crate) written: AtomicUsize,
    pub(crate) logs: tempfile::TempDir,
}

/// A relay as a process; killed when the test ends, however it ends.
pub(crate) struct RelayProcess {
    pub(crate) child: Child,
    pub(crate) url: String,
    pub(crate) log: std::path::PathBuf,
}

impl World {
    pub(crate) async fn new() -> Arc<Self> {
        let (database, prefix) = (TestDb::new("shards").await, testkit::topic_prefix());
        let topic = format!("{prefix}events");
        testkit::kafka::create_topics(&[&topic], 3).await;
        Arc::new(Self {
            database,
            prefix,
            topic,
            written: AtomicUsize::new(0),
            logs: tempfile::tempdir().unwrap(),
        })
    }

    pub(crate) fn start(&self) -> RelayProcess {
        self.start_with(None)
    }

    pub(crate) fn start_with(&self, failpoint: Option<(Point, &str)>) -> RelayProcess {
        let port = testkit::free_port();
        let log = self.logs.path().join(port.to_string());
        let mut command = Command::new(env!("CARGO_BIN_EXE_outbox-relay"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ONCEBOX_")) {
            command.env_remove(name);
        }
        if let Some((point, action)) = failpoint {
            command.env(VARIABLE, format!("{}={action}@1", point.name()));
        }
        let child = command
            .env("ONCEBOX_HTTP_ADDRESS", format!("127.0.0.1:{port}"))
            .env("ONCEBOX_TOKEN", TOKEN)
            .env("ONCEBOX_KAFKA", testkit::kafka_address())
            .env("ONCEBOX_TOPIC_PREFIX", &self.prefix)
            .env("ONCEBOX_SOURCES__BENCH", self.database.url())
            .env("ONCEBOX_BATCH_ROWS", "50")
            .env("ONCEBOX_REFUSED_RETRY_MS", "100")
            .env("ONCEBOX_RETENTION_HOURS", "0")
            .env("ONCEBOX_MAINTENANCE_SECONDS", "1")
            .env("ONCEBOX_LOG_FORMAT", "text")
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        RelayProcess {
            child,
            url: format!("http://127.0.0.1:{port}"),
            log,
        }
    }

    /// Commits rows in transactions of ten, each row numbered within its key in commit order; some without a key, some
    /// delayed, which keep to no order.
    pub(crate) async fn write(&self, transactions: usize) {
        for _ in 0..transactions {
            let first = self.written.fetch_add(10, Ordering::Relaxed);
            sqlx::query(
                "insert into oncebox.outbox (event_id, topic, key, payload, headers, not_before)
                 select id, $1,
                        case when n % 10 <> 8 then convert_to((n % $3)::text, 'utf8') end,
                        convert_to(n::text, 'utf8'),
                        jsonb_build_object('id', id::text, 'ordered', (n % 10 < 8)::text),
                        case when n % 10 = 9 then clock_timestamp() + interval '200 milliseconds' end
                 from (select n, gen_random_uuid() as id from generate_series($2, $2 + 9) n) as rows order by n",
            )
            .bind(&self.topic)
            .bind(i32::try_from(first).unwrap())
            .bind(i32::try_from(KEYS).unwrap())
            .execute(self.database.pool())
            .await
            .unwrap();
        }
    }

    /// Goes on writing until told to stop.
    pub(crate) fn write_on(self: &Arc<Self>) -> (tokio::task::JoinHandle<()>, Arc<AtomicBool>) {
        let (world, stop) = (Arc::clone(self), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let writer = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                world.write(1).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        (writer, stop)
    }

    /// Shards by process number of whoever has their leases.
    pub(crate) async fn spread(&self) -> BTreeMap<u32, usize> {
        let holders: Vec<String> = sqlx::query_scalar(
            "select holder from oncebox.relay_lease where expires_at > clock_timestamp()",
        )
        .fetch_all(self.database.pool())
        .await
        .unwrap();
        let mut spread = BTreeMap::new();
        for holder in holders {
            let process = holder.rsplit_once('/').unwrap().1.parse().unwrap();
            *spread.entry(process).or_default() += 1;
        }
        spread
    }

    /// Waits until each of these relays has so many shards and nobody else any; returns how long that took.
    pub(crate) async fn spread_over(&self, wanted: &[(&RelayProcess, usize)]) -> Duration {
        let started = Instant::now();
        let wanted: BTreeMap<u32, usize> = wanted
            .iter()
            .map(|(relay, shards)| (relay.child.id(), *shards))
            .collect();
        testkit::eventually(&format!("{wanted:?}"), PATIENCE, async || {
            (self.spread().await == wanted).then_some(())
        })
        .await;
        started.elapsed()
    }

    /// Evenly over these relays, whoever has one more.
    pub(crate) async fn spread_evenly(&self, relays: &[&RelayProcess], shards: usize) -> Duration {
        let started = Instant::now();
        let (least, most) = (shards / relays.len(), shards.div_ceil(relays.len()));
        testkit::eventually("an even spread", PATIENCE, async || {
            let spread = self.spread().await;
            let even = relays.iter().all(|relay| {
                let has = spread.get(&relay.child.id()).copied().unwrap_or_default();
                (least..=most).contains(&has)
            });
            (even && spread.values().sum::<usize>() == shards).then_some(())
        })
        .await;
        started.elapsed()
    }

    /// Waits for everything that was written: none missing, none twice, each key in commit order.
    pub(crate) async fn check(&self) {
        let rows = self.written.load(Ordering::Relaxed);
        let records = testkit::eventually(&format!("{rows} records"), PATIENCE, async || {
            let records = testkit::kafka::read_committed(&self.topic).await;
            (records.len() >= rows).then_some(records)
        })
        .await;
        let ids: HashSet<_> = records
            .iter()
            .map(|record| record.headers.get_str("id").unwrap().to_owned())
            .collect();
        assert_eq!((records.len(), ids.len()), (rows, rows), "each once");
        let mut last: HashMap<Vec<u8>, usize> = HashMap::new();
        for record in records {
            if record.headers.get_str("ordered") == Some("true") {
                let key = record.key.unwrap();
                let value = std::str::from_utf8(record.value.as_deref().unwrap()).unwrap();
                let number: usize = value.parse().unwrap();
                let before = last.insert(key.to_vec(), number);
                assert!(
                    before.is_none_or(|before| before < number),
                    "{key:?}: {before:?} before {number}"
                );
            }
        }
    }
}

impl RelayProcess {
    pub(crate) fn signal(&self, signal: Signal) {
        kill(
            Pid::from_raw(i32::try_from(self.child.id()).unwrap()),
            signal,
        )
        .unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
        command
            .args(["--url", &self.url, "--token", TOKEN])
            .args(arguments)
            .env("USER", "kim");
        command
    }

    pub(crate) async fn relay(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap()
    }

    /// Waits until it publishes so many shards: has taken them over, not merely their leases.
    pub(crate) async fn publishes(&self, shards: usize) {
        testkit::eventually(&format!("{shards} shards to run"), PATIENCE, async || {
            let output = self.relay(&["status", "--json"]).await;
            let status: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).ok()?;
            let running = status.iter().filter(|shard| shard["state"] == "running");
            (running.count() == shards).then_some(())
        })
        .await;
    }

    /// Divides the source, as soon as the relay answers at all.
    pub(crate) async fn divide(&self, shards: usize) {
        let shards = shards.to_string();
        testkit::eventually("the division", PATIENCE, async || {
            let output = self
                .relay(&["shards", "set", &shards, "--reason", "a test"])
                .await;
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            let in_time = [
                "cannot be reached",
                "does not answer",
                "another relay is changing",
            ];
            assert!(
                output.status.success() || in_time.iter().any(|text| told.contains(text)),
                "{told}{}",
                self.log()
            );
            output.status.success().then_some(())
        })
        .await;
    }

    pub(crate) async fn answers(&self) {
        testkit::eventually("the relay answers", PATIENCE, async || {
            self.relay(&["shards", "show"])
                .await
                .status
                .success()
                .then_some(())
        })
        .await;
    }

    /// Whether the kernel holds it stopped: the state after the name in parentheses (proc(5)).
    pub(crate) fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        stat.rsplit_once(") ").unwrap().1.starts_with('T')
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
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
