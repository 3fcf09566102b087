//! What a consumer does that is worth a metric, a log line or both: one struct each.

mod flood;
mod inbox;
mod parking;
mod sequence;

use std::time::Duration;

use telemetry::Happening;

pub(super) use flood::{DeadLetterPutOff, FloodGuardClosed, FloodGuardOpened};
pub(super) use inbox::{InboxKept, InboxNotKept, OldMet};
pub(super) use parking::{KeyReturned, ParkingDepth, ParkingFull, RecordsParked, Superseded};
pub(super) use sequence::{GapGivenUp, SequenceAwaited, SequenceDropped};

use crate::failure::Failure;
use crate::record::Record;

/// A batch was committed.
pub(super) struct BatchCommitted<'a> {
    pub(super) group: &'a str,
    pub(super) topic: &'a str,
    pub(super) handled: usize,
    pub(super) dead: usize,
    pub(super) duration: Duration,
}

impl Happening for BatchCommitted<'_> {
    fn emit(self) {
        let labels = [
            ("group", self.group.to_owned()),
            ("topic", self.topic.to_owned()),
        ];
        metrics::counter!("oncebox_consumer_handled_total", &labels).increment(self.handled as u64);
        metrics::histogram!("oncebox_consumer_batch_records", &labels)
            .record((self.handled + self.dead) as f64);
        metrics::histogram!("oncebox_consumer_batch_seconds", &labels)
            .record(self.duration.as_secs_f64());
        tracing::debug!(
            group = self.group,
            topic = self.topic,
            handled = self.handled,
            duration_ms = self.duration.as_millis() as u64,
            "batch committed"
        );
    }
}

/// Records were left alone: the consumer had finished with them, or their type is not its business.
pub(super) struct LeftAlone<'a> {
    pub(super) group: &'a str,
    pub(super) topic: &'a str,
    pub(super) duplicates: usize,
    pub(super) skipped: usize,
}

impl Happening for LeftAlone<'_> {
    fn emit(self) {
        let labels = [
            ("group", self.group.to_owned()),
            ("topic", self.topic.to_owned()),
        ];
        if self.duplicates > 0 {
            metrics::counter!("oncebox_consumer_deduplicated_total", &labels)
                .increment(self.duplicates as u64);
            tracing::debug!(
                group = self.group,
                topic = self.topic,
                records = self.duplicates,
                "records deduplicated"
            );
        }
        if self.skipped > 0 {
            metrics::counter!("oncebox_consumer_skipped_total", &labels)
                .increment(self.skipped as u64);
        }
    }
}

/// A record failed and is tried again.
pub(super) struct RetryScheduled<'a> {
    pub(super) group: &'a str,
    pub(super) record: &'a Record,
    pub(super) failure: &'a Failure,
    pub(super) attempts: u32,
    pub(super) delay: Duration,
}

impl Happening for RetryScheduled<'_> {
    fn emit(self) {
        metrics::counter!("oncebox_consumer_retried_total", "group" => self.group.to_owned(),
            "topic" => self.record.topic.clone(), "code" => self.failure.code)
        .increment(1);
        tracing::warn!(
            group = self.group,
            topic = self.record.topic,
            partition = self.record.partition,
            offset = self.record.offset,
            event_id = %self.record.event_id(),
            attempts = self.attempts,
            delay_ms = self.delay.as_millis() as u64,
            code = self.failure.code,
            site = self.failure.site,
            error = self.failure.message,
            "record failed, it is tried again"
        );
    }
}

/// A record was given up.
pub(super) struct DeadLettered<'a> {
    pub(super) group: &'a str,
    pub(super) record: &'a Record,
    pub(super) failure: &'a Failure,
    pub(super) attempts: u32,
}

impl Happening for DeadLettered<'_> {
    fn emit(self) {
        metrics::counter!("oncebox_consumer_dead_lettered_total", "group" => self.group.to_owned(),
            "topic" => self.record.topic.clone(), "class" => self.failure.class.as_str(), "code" => self.failure.code)
        .increment(1);
        tracing::error!(
            group = self.group,
            topic = self.record.topic,
            partition = self.record.partition,
            offset = self.record.offset,
            event_id = %self.record.event_id(),
            attempts = self.attempts,
            class = self.failure.class.as_str(),
            code = self.failure.code,
            site = self.failure.site,
            error = self.failure.message,
            "record dead-lettered"
        );
    }
}

/// Something that every record needs is away; the partition waits.
pub(super) struct OutageBegan<'a> {
    pub(super) group: &'a str,
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) failure: &'a Failure,
}

impl Happening for OutageBegan<'_> {
    fn emit(self) {
        metrics::counter!("oncebox_consumer_outages_total", "group" => self.group.to_owned(), "code" => self.failure.code)
            .increment(1);
        tracing::warn!(
            group = self.group,
            topic = self.topic,
            partition = self.partition,
            code = self.failure.code,
            error = self.failure.message,
            "the consumer waits for a dependency; nothing is counted against the record"
        );
    }
}

/// It is back.
pub(super) struct OutageEnded<'a> {
    pub(super) group: &'a str,
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) lasted: Duration,
}

impl Happening for OutageEnded<'_> {
    fn emit(self) {
        metrics::histogram!("oncebox_consumer_outage_seconds", "group" => self.group.to_owned())
            .record(self.lasted.as_secs_f64());
        tracing::info!(
            group = self.group,
            topic = self.topic,
            partition = self.partition,
            lasted_ms = self.lasted.as_millis() as u64,
            "the dependency is back, the consumer goes on"
        );
    }
}

/// Partitions came or went.
pub(super) struct AssignmentChanged<'a> {
    pub(super) group: &'a str,
    pub(super) what: &'static str,
    pub(super) partitions: usize,
    pub(super) owned: usize,
}

impl Happening for AssignmentChanged<'_> {
    fn emit(self) {
        metrics::gauge!("oncebox_consumer_assigned_partitions", "group" => self.group.to_owned())
            .set(self.owned as f64);
        tracing::info!(
            group = self.group,
            partitions = self.partitions,
            owned = self.owned,
            "partitions {}",
            self.what
        );
    }
}

/// How far a partition is behind its end.
pub(super) struct LagSeen<'a> {
    pub(super) group: &'a str,
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) records: i64,
}

impl Happening for LagSeen<'_> {
    fn emit(self) {
        metrics::gauge!("oncebox_consumer_lag_records", "group" => self.group.to_owned(),
            "topic" => self.topic.to_owned(), "partition" => self.partition.to_string())
        .set(self.records as f64);
    }
}

/// The broker refuses or does not answer; librdkafka keeps trying.
pub(super) struct BrokerTrouble<'a> {
    pub(super) group: &'a str,
    pub(super) error: &'a str,
}

impl Happening for BrokerTrouble<'_> {
    fn emit(self) {
        metrics::counter!("oncebox_consumer_broker_errors_total", "group" => self.group.to_owned())
            .increment(1);
        tracing::warn!(
            group = self.group,
            error = self.error,
            "kafka cannot be read; the consumer keeps trying"
        );
    }
}

/// Offsets could not be committed; they are committed again with the next ones.
pub(super) struct CommitFailed<'a> {
    pub(super) group: &'a str,
    pub(super) error: &'a str,
}

impl Happening for CommitFailed<'_> {
    fn emit(self) {
        metrics::counter!("oncebox_consumer_commit_errors_total", "group" => self.group.to_owned())
            .increment(1);
        tracing::warn!(
            group = self.group,
            error = self.error,
            "offsets not committed; records may come again and are deduplicated then"
        );
    }
}
