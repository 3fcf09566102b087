//! What happens where a consumer demands sequences.

use std::time::Duration;

use telemetry::Happening;

/// Records were dropped, others of their sequences being finished.
pub(crate) struct SequenceDropped<'a> {
    pub(crate) group: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) records: usize,
}

impl Happening for SequenceDropped<'_> {
    fn emit(self) {
        if self.records == 0 {
            return;
        }
        metrics::counter!("oncebox_consumer_sequence_dropped_total", "group" => self.group.to_owned(),
            "topic" => self.topic.to_owned())
        .increment(self.records as u64);
        tracing::debug!(
            group = self.group,
            topic = self.topic,
            records = self.records,
            "records dropped, their sequences are finished"
        );
    }
}

/// A key waits for a sequence that is missing.
pub(crate) struct SequenceAwaited<'a> {
    pub(crate) group: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) sequence: i64,
    pub(crate) time: Duration,
}

impl Happening for SequenceAwaited<'_> {
    fn emit(self) {
        metrics::counter!("oncebox_consumer_sequence_gaps_total", "group" => self.group.to_owned(),
            "topic" => self.topic.to_owned())
        .increment(1);
        tracing::info!(
            group = self.group,
            topic = self.topic,
            partition = self.partition,
            sequence = self.sequence,
            deadline_ms = self.time.as_millis() as u64,
            "a key waits for a sequence that is missing"
        );
    }
}

/// A missing sequence did not come in time.
pub(crate) struct GapGivenUp<'a> {
    pub(crate) group: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) policy: &'static str,
    pub(crate) missing: i64,
    pub(crate) goes_on_at: i64,
}

impl Happening for GapGivenUp<'_> {
    fn emit(self) {
        metrics::counter!("oncebox_consumer_sequence_gaps_given_up_total", "group" => self.group.to_owned(),
            "topic" => self.topic.to_owned(), "policy" => self.policy)
        .increment(1);
        tracing::warn!(
            group = self.group,
            topic = self.topic,
            partition = self.partition,
            policy = self.policy,
            missing = self.missing,
            goes_on_at = self.goes_on_at,
            "a missing sequence did not come, its key goes on without it"
        );
    }
}
