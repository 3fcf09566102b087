//! All that was measured, as it is kept in JSON.

use serde::Serialize;

use super::burden::Waiting;
use super::ceiling::Ceilings;
use super::drain::Drains;
use super::goal::{self, Goal};
use super::idle::Idle;
use super::kill::Kills;
use super::latency::AtRate;
use super::options::Plan;

/// One run of the benchmark.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) plan: Plan,
    pub(crate) relay: Subject,
    pub(crate) ceilings: Option<Ceilings>,
    /// The relay's drain with a transaction open beneath it.
    pub(crate) open_transaction: Option<Drains>,
    pub(crate) waiting: Option<Waiting>,
    pub(crate) peers: Vec<Subject>,
    pub(crate) goals: Vec<Goal>,
}

/// Whoever is measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Subject {
    pub(crate) name: String,
    /// Started on a backlog.
    pub(crate) drain: Option<Drains>,
    /// Running already, warmed up by an earlier drain. The relay has no such state.
    pub(crate) warm: Option<Drains>,
    pub(crate) latency: Vec<AtRate>,
    pub(crate) idle: Option<Idle>,
    pub(crate) kill: Option<Kills>,
}

/// Where it was measured: figures of two machines, or of a busy one, are not to be compared.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processors: usize,
    pub(crate) memory_gb: f64,
    pub(crate) system: String,
    /// Processes that wanted a processor in the minute before, on average: more than about 0.5 is a busy machine.
    pub(crate) load_before: f64,
}

impl Subject {
    pub(crate) fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }
}

impl Machine {
    pub(crate) fn look() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let number = |text: Option<&str>| text.and_then(|text| text.parse::<f64>().ok());
        let memory = read("/proc/meminfo");
        let kib = number(memory.split_whitespace().nth(1)).unwrap_or(f64::NAN);
        Self {
            processors: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            memory_gb: kib * 1.024 / 1_000_000.0,
            system: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: number(read("/proc/loadavg").split_whitespace().next())
                .unwrap_or(f64::NAN),
        }
    }
}

impl Report {
    /// Compares with the goals.
    pub(crate) fn judge(&mut self) {
        self.goals = goal::judge(self);
    }
}
