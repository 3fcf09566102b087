//! What to measure, and how long.

use clap::{Args, ValueEnum};
use serde::Serialize;

/// How the benchmark is run.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Records that wait [default: 500000]
    #[arg(long)]
    records: Option<u64>,
    /// Records that the loop written by hand gets, which is slow [default: 30000]
    #[arg(long)]
    plain_records: Option<u64>,
    /// Repetitions of each drain; medians are shown, with smallest and largest [default: 3]
    #[arg(long)]
    runs: Option<usize>,
    /// Records a second while latency is measured
    #[arg(long, default_value_t = 2000)]
    rate: u64,
    /// Seconds for which 1 % of the keys fail, and for which latency is measured without and with them [default: 60]
    #[arg(long)]
    parking_seconds: Option<u64>,
    /// Seconds for which memory is watched under that rate; 600 shows what the goal speaks of [default: 60]
    #[arg(long)]
    soak_seconds: Option<u64>,
    /// Only these parts, comma separated
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// A look whether all works: 20,000 records, one run, a few seconds each
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
    /// Our single-record handler, and the same records once more
    Single,
    /// Our batch handler, and the same records once more
    Batch,
    /// A loop as a team writes it by hand
    Plain,
    /// What failing keys cost the others
    Parking,
    /// Memory under a steady load
    Soak,
}

/// The options with nothing left open.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Plan {
    pub(crate) records: u64,
    pub(crate) plain_records: u64,
    pub(crate) runs: usize,
    pub(crate) rate: u64,
    pub(crate) parking_seconds: u64,
    pub(crate) soak_seconds: u64,
    pub(crate) parts: Vec<Part>,
}

impl Options {
    pub(crate) fn plan(&self) -> Plan {
        let usual = |usual: u64, quick: u64| if self.quick { quick } else { usual };
        let records = self.records.unwrap_or(usual(500_000, 20_000)).max(1_000);
        let plain = self.plain_records.unwrap_or(usual(30_000, 2_000));
        Plan {
            records,
            plain_records: plain.clamp(600, records),
            runs: self.runs.unwrap_or(if self.quick { 1 } else { 3 }).max(1),
            rate: self.rate.clamp(10, 100_000),
            parking_seconds: self.parking_seconds.unwrap_or(usual(60, 6)).max(4),
            soak_seconds: self.soak_seconds.unwrap_or(usual(60, 6)).max(4),
            parts: if self.only.is_empty() {
                Part::value_variants().to_vec()
            } else {
                self.only.clone()
            },
        }
    }
}

impl Plan {
    pub(crate) fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }
}
