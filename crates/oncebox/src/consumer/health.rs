//! What a consumer tells about itself while it runs, for readiness checks and status pages.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A poll thread that was silent for this long is stuck: it polls at least ten times a second.
const STALE: Duration = Duration::from_secs(30);

/// Handle to a consumer's state; cheap to clone, valid also after the consumer ended.
#[derive(Debug, Clone)]
pub struct ConsumerHealth {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    created: Instant,
    polled_ms: AtomicI64,
    running: AtomicBool,
    assigned: AtomicUsize,
    broker: Mutex<Option<BrokerProblem>>,
    /// By topic and partition.
    outages: Mutex<BTreeMap<(String, i32), String>>,
    /// Partitions that their flood guards pause, likewise.
    guards: Mutex<BTreeMap<(String, i32), String>>,
}

#[derive(Debug, PartialEq, Eq)]
struct BrokerProblem {
    text: String,
    /// Whether it is over as soon as any broker is connected.
    connection: bool,
}

/// A consumer's state at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerStatus {
    /// Whether it runs.
    pub running: bool,
    /// Partitions that it owns; none is normal when the group has more members than partitions.
    pub assigned_partitions: usize,
    /// How long ago it polled; none before the first time.
    pub last_poll_age: Option<Duration>,
    /// Why no records can be fetched, while that lasts.
    pub broker_error: Option<String>,
    /// What a partition waits for, while something is away.
    pub outage: Option<String>,
}

impl ConsumerHealth {
    pub(super) fn new() -> Self {
        let state = State {
            created: Instant::now(),
            polled_ms: AtomicI64::new(-1),
            running: AtomicBool::new(false),
            assigned: AtomicUsize::new(0),
            broker: Mutex::default(),
            outages: Mutex::default(),
            guards: Mutex::default(),
        };
        Self {
            state: Arc::new(state),
        }
    }

    /// The state now.
    pub fn status(&self) -> ConsumerStatus {
        let state = &self.state;
        let polled = u64::try_from(state.polled_ms.load(Ordering::Relaxed)).ok();
        ConsumerStatus {
            running: state.running.load(Ordering::Relaxed),
            assigned_partitions: state.assigned.load(Ordering::Relaxed),
            last_poll_age: polled.map(|polled| {
                state
                    .created
                    .elapsed()
                    .saturating_sub(Duration::from_millis(polled))
            }),
            broker_error: lock(&state.broker)
                .as_ref()
                .map(|problem| problem.text.clone()),
            outage: lock(&state.outages)
                .values()
                .next()
                .or(lock(&state.guards).values().next())
                .cloned(),
        }
    }

    /// Whether the consumer can do its work.
    ///
    /// # Errors
    /// A sentence that names what is missing: it does not run, it is stuck, the broker or a dependency is away.
    pub fn check(&self) -> Result<(), String> {
        let status = self.status();
        if !status.running {
            return Err("the consumer does not run".into());
        }
        match status.last_poll_age {
            None => return Err("the consumer has not polled yet".into()),
            Some(age) if age > STALE => {
                return Err(format!(
                    "the consumer has not polled for {} s",
                    age.as_secs()
                ));
            }
            Some(_) => {}
        }
        match status.broker_error.or(status.outage) {
            Some(problem) => Err(problem),
            None => Ok(()),
        }
    }

    pub(super) fn set_running(&self, running: bool) {
        self.state.running.store(running, Ordering::Relaxed);
    }

    pub(super) fn polled(&self) {
        let now = i64::try_from(self.state.created.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.state.polled_ms.store(now, Ordering::Relaxed);
    }

    pub(super) fn set_assigned(&self, partitions: usize) {
        self.state.assigned.store(partitions, Ordering::Relaxed);
    }

    /// Notes why records cannot be fetched; true when that is news. `connection`: because no broker is connected.
    pub(super) fn set_broker_problem(&self, text: &str, connection: bool) -> bool {
        let problem = BrokerProblem {
            text: text.to_owned(),
            connection,
        };
        lock(&self.state.broker)
            .replace(problem)
            .is_none_or(|before| before.text != text)
    }

    /// Notes that a broker is connected.
    pub(super) fn broker_connected(&self) {
        lock(&self.state.broker).take_if(|problem| problem.connection);
    }

    /// Notes that records arrive: whatever was wrong is over.
    pub(super) fn broker_delivers(&self) {
        lock(&self.state.broker).take();
    }

    /// Notes what a partition waits for, or that it goes on.
    pub(super) fn set_outage(&self, topic: &str, partition: i32, problem: Option<String>) {
        set(&self.state.outages, topic, partition, problem);
    }

    /// Notes why a partition's flood guard pauses it, or that it does not.
    pub(super) fn set_guard(&self, topic: &str, partition: i32, problem: Option<String>) {
        set(&self.state.guards, topic, partition, problem);
    }
}

fn set(
    problems: &Mutex<BTreeMap<(String, i32), String>>,
    topic: &str,
    partition: i32,
    problem: Option<String>,
) {
    let mut problems = lock(problems);
    let place = (topic.to_owned(), partition);
    match problem {
        Some(problem) => problems.insert(place, problem),
        None => problems.remove(&place),
    };
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_is_ready_while_it_polls_and_nothing_is_away() {
        let health = ConsumerHealth::new();
        assert!(health.check().is_err());
        health.set_running(true);
        assert_eq!(
            health.check(),
            Err("the consumer has not polled yet".into())
        );
        health.polled();
        assert_eq!(health.check(), Ok(()));
        assert!(health.set_broker_problem("all brokers are down", true));
        assert!(!health.set_broker_problem("all brokers are down", true));
        assert!(health.check().is_err());
        health.broker_connected();
        assert_eq!(health.check(), Ok(()));
        health.set_broker_problem("not authorised", false);
        health.broker_connected();
        assert!(
            health.check().is_err(),
            "a connection alone does not mend it"
        );
        health.broker_delivers();
        health.set_outage("t", 0, Some("database.away".into()));
        health.set_outage("t", 1, Some("database.away".into()));
        health.set_outage("t", 0, None);
        assert_eq!(
            health.check(),
            Err("database.away".into()),
            "the other partition still waits"
        );
        health.set_outage("t", 1, None);
        assert_eq!(health.check(), Ok(()));
    }
}
