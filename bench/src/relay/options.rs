//! What to measure, and how long.

use clap::{Args, ValueEnum};
use serde::Serialize;

/// How the benchmark is run.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Rows of a drain [default: 1000000]
    #[arg(long)]
    rows: Option<u64>,
    /// Repetitions of each measurement; medians are shown, with smallest and largest [default: 3]
    #[arg(long)]
    runs: Option<usize>,
    /// Seconds for which latency is measured at each rate, after two of warming up [default: 20]
    #[arg(long)]
    latency_seconds: Option<u64>,
    /// Seconds before drains, and at 1,000/s before latency is measured, so that broker and peer are compiled [default: 60]
    #[arg(long)]
    warming_seconds: Option<u64>,
    /// Seconds for which an idle relay is watched [default: 30]
    #[arg(long)]
    idle_seconds: Option<u64>,
    /// Rows that each transaction of the filling writes
    #[arg(long, default_value_t = 100)]
    rows_per_transaction: u64,
    /// Only these parts, comma separated
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Measure this peer too, in turn, with the same rows
    #[arg(long)]
    peer: Option<Peer>,
    /// Also the rate with so many rows waiting, for example 10000000; filling takes minutes
    #[arg(long)]
    waiting: Option<u64>,
    /// Seconds for which the rate with many rows waiting is measured
    #[arg(long, default_value_t = 15)]
    waiting_seconds: u64,
    /// A look whether all works: 50,000 rows, one run, five seconds each
    #[arg(long)]
    quick: bool,
    /// Print JSON instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Part {
    /// Publishing a backlog
    Drain,
    /// The same drain while a transaction older than all rows is open
    OpenTransaction,
    /// What reading and producing alone could reach
    Ceilings,
    /// From commit to consumable
    Latency,
    /// What it costs when there is nothing to do
    Idle,
    /// kill -9 in the middle of a drain
    Kill,
}

/// Whom to measure beside us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Peer {
    /// Debezium's outbox event router on Kafka Connect, exactly-once and at-least-once
    Debezium,
}

/// The options with nothing left open.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Plan {
    pub(crate) rows: u64,
    pub(crate) runs: usize,
    pub(crate) latency_seconds: u64,
    pub(crate) warming_seconds: u64,
    pub(crate) idle_seconds: u64,
    pub(crate) rows_per_transaction: u64,
    pub(crate) parts: Vec<Part>,
    pub(crate) peer: Option<Peer>,
    pub(crate) waiting: Option<u64>,
    pub(crate) waiting_seconds: u64,
}

impl Options {
    pub(crate) fn plan(&self) -> Plan {
        let usual = |usual: u64, quick: u64| if self.quick { quick } else { usual };
        let rows = self.rows.unwrap_or(usual(1_000_000, 50_000));
        Plan {
            rows: rows.max(1000),
            runs: self.runs.unwrap_or(if self.quick { 1 } else { 3 }).max(1),
            latency_seconds: self.latency_seconds.unwrap_or(usual(20, 5)).max(1),
            warming_seconds: self.warming_seconds.unwrap_or(usual(60, 3)).max(1),
            idle_seconds: self.idle_seconds.unwrap_or(usual(30, 5)).max(1),
            rows_per_transaction: self.rows_per_transaction.clamp(1, 10_000),
            parts: if self.only.is_empty() {
                Part::value_variants().to_vec()
            } else {
                self.only.clone()
            },
            peer: self.peer,
            waiting: self.waiting,
            waiting_seconds: self.waiting_seconds.max(1),
        }
    }
}

impl Plan {
    pub(crate) fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }
}
