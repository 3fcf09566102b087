//! What the relay reports: each struct is one happening, as log line and as metric together.

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use telemetry::Happening;

use crate::source::{Backlog, Maintained, Parkings};
use crate::state::{State, Telling};

/// A transaction was committed.
pub(crate) struct Published<'a> {
    pub(crate) source: &'a str,
    pub(crate) shard: u16,
    pub(crate) rows: usize,
    pub(crate) took: Duration,
}

impl Happening for Published<'_> {
    fn emit(self) {
        let (source, shard) = (self.source.to_owned(), self.shard.to_string());
        counter!("oncebox_relay_published_rows_total", "source" => source.clone(), "shard" => shard.clone())
            .increment(self.rows as u64);
        counter!("oncebox_relay_transactions_total", "source" => source.clone(), "shard" => shard.clone(), "result" => "committed").increment(1);
        histogram!("oncebox_relay_transaction_rows", "source" => source.clone(), "shard" => shard.clone())
            .record(rows_of(self.rows));
        histogram!("oncebox_relay_transaction_duration_seconds", "source" => source, "shard" => shard)
            .record(self.took.as_secs_f64());
        tracing::debug!(
            source = self.source,
            shard = self.shard,
            rows = self.rows,
            duration_ms = self.took.as_millis(),
            "published"
        );
    }
}

/// A transaction was aborted.
pub(crate) struct Aborted<'a> {
    pub(crate) source: &'a str,
    pub(crate) shard: u16,
    pub(crate) error: &'a str,
    pub(crate) telling: Telling,
}

impl Happening for Aborted<'_> {
    fn emit(self) {
        let (source, shard) = (self.source.to_owned(), self.shard.to_string());
        counter!("oncebox_relay_transactions_total", "source" => source, "shard" => shard, "result" => "aborted")
            .increment(1);
        if self.telling != Telling::Known {
            tracing::warn!(
                source = self.source,
                shard = self.shard,
                error = self.error,
                "transaction aborted, tried again"
            );
        }
    }
}

/// Database or broker went away, or are still. Told once a minute at most.
pub(crate) struct Away<'a> {
    pub(crate) source: &'a str,
    pub(crate) shard: u16,
    pub(crate) error: &'a str,
    pub(crate) telling: Telling,
}

impl Happening for Away<'_> {
    fn emit(self) {
        if self.telling == Telling::New {
            counter!("oncebox_relay_outages_total", "source" => self.source.to_owned(), "shard" => self.shard.to_string())
                .increment(1);
        }
        tracing::warn!(
            source = self.source,
            shard = self.shard,
            error = self.error,
            "source waits, tried again by itself"
        );
    }
}

/// The source runs, at its start or after an outage.
pub(crate) struct Running<'a> {
    pub(crate) source: &'a str,
    pub(crate) shard: u16,
    pub(crate) cursor: &'a str,
}

impl Happening for Running<'_> {
    fn emit(self) {
        tracing::info!(
            source = self.source,
            shard = self.shard,
            cursor = self.cursor,
            "source runs"
        );
    }
}

/// What a source is doing, looked at every few seconds.
pub(crate) struct StateSeen<'a> {
    pub(crate) source: &'a str,
    pub(crate) shard: u16,
    pub(crate) state: &'a State,
}

impl Happening for StateSeen<'_> {
    fn emit(self) {
        for name in State::NAMES {
            gauge!("oncebox_relay_source_state", "source" => self.source.to_owned(), "shard" => self.shard.to_string(), "state" => name)
                .set(f64::from(u8::from(name == self.state.name())));
        }
    }
}

/// How many shards a source has, looked at every few seconds.
pub(crate) struct ShardsSeen<'a> {
    pub(crate) source: &'a str,
    pub(crate) shards: usize,
    /// How many it had before: those that are no more have no state.
    pub(crate) before: usize,
}

impl Happening for ShardsSeen<'_> {
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    fn emit(self) {
        let source = self.source.to_owned();
        gauge!("oncebox_relay_shards", "source" => source.clone()).set(self.shards as f64);
        for gone in self.shards..self.before {
            for name in State::NAMES {
                gauge!("oncebox_relay_source_state", "source" => source.clone(), "shard" => gone.to_string(), "state" => name)
                    .set(0.0);
            }
        }
    }
}

/// What became of a lease.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LeaseChange {
    Taken,
    Lost,
    Released,
}

/// This relay took a source's lease, lost it or gave it back.
pub(crate) struct LeaseChanged<'a> {
    pub(crate) source: &'a str,
    pub(crate) shard: u16,
    pub(crate) change: LeaseChange,
}

impl Happening for LeaseChanged<'_> {
    fn emit(self) {
        let (change, held) = match self.change {
            LeaseChange::Taken => ("taken", 1.0),
            LeaseChange::Lost => ("lost", 0.0),
            LeaseChange::Released => ("released", 0.0),
        };
        let (source, shard) = (self.source.to_owned(), self.shard.to_string());
        counter!("oncebox_relay_lease_changes_total", "source" => source.clone(), "shard" => shard.clone(), "change" => change)
            .increment(1);
        gauge!("oncebox_relay_lease_held", "source" => source, "shard" => shard).set(held);
        tracing::info!(
            source = self.source,
            shard = self.shard,
            change,
            "lease changed"
        );
    }
}

/// The database has no lease table: whoever starts last publishes.
pub(crate) struct LeasesAbsent<'a> {
    pub(crate) source: &'a str,
    pub(crate) error: &'a str,
}

impl Happening for LeasesAbsent<'_> {
    fn emit(self) {
        counter!("oncebox_relay_leases_absent_total", "source" => self.source.to_owned())
            .increment(1);
        tracing::warn!(
            source = self.source,
            error = self.error,
            "no lease to be had, so the relay that starts last publishes"
        );
    }
}

/// The broker refuses rows of a batch; the error is the first one's.
pub(crate) struct RowRefused<'a> {
    pub(crate) source: &'a str,
    pub(crate) shard: u16,
    pub(crate) error: &'a str,
    pub(crate) rows: usize,
    /// Whether the policy of its topic is to go on without it.
    pub(crate) skipped: bool,
}

impl Happening for RowRefused<'_> {
    fn emit(self) {
        counter!("oncebox_relay_refused_total", "source" => self.source.to_owned(), "shard" => self.shard.to_string())
            .increment(self.rows as u64);
        tracing::error!(
            source = self.source,
            shard = self.shard,
            error = self.error,
            rows = self.rows,
            code = "relay.row_refused",
            skipped = self.skipped,
            "row refused"
        );
    }
}

/// Parked rows were published: refused ones that the broker takes now, those behind them, or delayed ones.
pub(crate) struct Released<'a> {
    pub(crate) source: &'a str,
    pub(crate) shard: u16,
    pub(crate) rows: usize,
}

impl Happening for Released<'_> {
    fn emit(self) {
        counter!("oncebox_relay_released_rows_total", "source" => self.source.to_owned(), "shard" => self.shard.to_string())
            .increment(self.rows as u64);
        tracing::debug!(
            source = self.source,
            shard = self.shard,
            rows = self.rows,
            "parked rows published"
        );
    }
}

/// The source ended until somebody acts.
pub(crate) struct Stopped<'a> {
    pub(crate) source: &'a str,
    pub(crate) shard: u16,
    pub(crate) code: &'static str,
    pub(crate) reason: &'a str,
}

impl Happening for Stopped<'_> {
    fn emit(self) {
        counter!("oncebox_relay_stopped_total", "source" => self.source.to_owned(), "shard" => self.shard.to_string(), "code" => self.code).increment(1);
        tracing::error!(
            source = self.source,
            shard = self.shard,
            code = self.code,
            reason = self.reason,
            "source stopped"
        );
    }
}

/// What waits, measured every few seconds.
pub(crate) struct Measured<'a> {
    pub(crate) source: &'a str,
    pub(crate) shard: u16,
    pub(crate) backlog: Backlog,
    pub(crate) parked: Parkings,
    pub(crate) blocked_keys: u64,
}

impl Happening for Measured<'_> {
    #[expect(clippy::cast_precision_loss, reason = "the figure stops at 100,000")]
    fn emit(self) {
        let (source, shard) = (self.source.to_owned(), self.shard.to_string());
        gauge!("oncebox_relay_pending_rows", "source" => source.clone(), "shard" => shard.clone())
            .set(self.backlog.rows as f64);
        gauge!("oncebox_relay_oldest_pending_age_seconds", "source" => source.clone(), "shard" => shard.clone())
            .set(self.backlog.oldest_seconds);
        gauge!("oncebox_relay_oldest_open_transaction_seconds", "source" => source.clone())
            .set(self.backlog.oldest_open_transaction_seconds);
        gauge!("oncebox_relay_blocked_keys", "source" => source.clone(), "shard" => shard.clone())
            .set(self.blocked_keys as f64);
        let parked = self.parked;
        for (state, rows) in [
            ("refused", parked.refused),
            ("waiting", parked.waiting),
            ("delayed", parked.delayed),
            ("dead", parked.dead),
        ] {
            gauge!("oncebox_relay_parked_rows", "source" => source.clone(), "shard" => shard.clone(), "state" => state)
                .set(rows as f64);
        }
    }
}

/// A round of maintenance went well.
pub(crate) struct MaintenanceDone<'a> {
    pub(crate) source: &'a str,
    pub(crate) maintained: &'a Maintained,
}

impl Happening for MaintenanceDone<'_> {
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    fn emit(self) {
        let (source, maintained) = (self.source.to_owned(), self.maintained);
        gauge!("oncebox_relay_partitions", "source" => source.clone())
            .set(maintained.partitions as f64);
        gauge!("oncebox_relay_default_partition_rows", "source" => source.clone())
            .set(maintained.default_rows as f64);
        gauge!("oncebox_relay_maintenance_failing", "source" => source.clone()).set(0.0);
        counter!("oncebox_relay_partitions_dropped_total", "source" => source)
            .increment(maintained.dropped.len() as u64);
        for partition in &maintained.dropped {
            tracing::info!(source = self.source, partition, "partition dropped");
        }
    }
}

/// A round of maintenance failed. Told when it begins to fail.
pub(crate) struct MaintenanceFailed<'a> {
    pub(crate) source: &'a str,
    pub(crate) error: &'a str,
    pub(crate) first: bool,
}

impl Happening for MaintenanceFailed<'_> {
    fn emit(self) {
        gauge!("oncebox_relay_maintenance_failing", "source" => self.source.to_owned()).set(1.0);
        if self.first {
            tracing::warn!(
                source = self.source,
                error = self.error,
                code = "relay.maintenance_failed",
                "outbox not maintained, tried again"
            );
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a batch has far fewer rows")]
fn rows_of(rows: usize) -> f64 {
    rows as f64
}
