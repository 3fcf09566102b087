//! What keeping the inbox comes to.

use telemetry::Happening;

use crate::retention::InboxUpkeep;

/// The inbox's partitions were seen to.
pub(crate) struct InboxKept<'a> {
    pub(crate) group: &'a str,
    pub(crate) kept: &'a InboxUpkeep,
}

impl Happening for InboxKept<'_> {
    fn emit(self) {
        let kept = self.kept;
        // Counts of partitions and rows, far below 2^52.
        metrics::gauge!("oncebox_inbox_partitions").set(kept.partitions as f64);
        metrics::gauge!("oncebox_inbox_days_ahead").set(kept.days_ahead as f64);
        metrics::gauge!("oncebox_inbox_default_rows").set(kept.default_rows as f64);
        metrics::counter!("oncebox_inbox_partitions_dropped_total")
            .increment(kept.dropped.len() as u64);
        metrics::counter!("oncebox_inbox_default_rows_deleted_total").increment(kept.deleted);
        if kept.busy {
            tracing::info!(
                group = self.group,
                "a lock on the inbox was not to be had, its partitions are seen to in an hour"
            );
        }
        if !kept.dropped.is_empty() || kept.deleted > 0 {
            tracing::info!(
                group = self.group,
                partitions = ?kept.dropped,
                rows = kept.deleted,
                "old inbox rows are forgotten"
            );
        }
    }
}

/// They could not be seen to.
pub(crate) struct InboxNotKept<'a> {
    pub(crate) group: &'a str,
    pub(crate) error: &'a str,
}

impl Happening for InboxNotKept<'_> {
    fn emit(self) {
        metrics::counter!("oncebox_partition_maintenance_failures_total").increment(1);
        tracing::warn!(
            group = self.group,
            error = self.error,
            "the inbox's partitions are not seen to, tried again in an hour"
        );
    }
}

/// Events so old that the inbox may have forgotten them.
pub(crate) struct OldMet<'a> {
    pub(crate) group: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    /// Finished once, by their places in the topic.
    pub(crate) finished: usize,
    /// Of which nobody knows; they are dead-lettered.
    pub(crate) unknown: usize,
}

impl Happening for OldMet<'_> {
    fn emit(self) {
        let labels = [
            ("group", self.group.to_owned()),
            ("topic", self.topic.to_owned()),
        ];
        let OldMet {
            finished, unknown, ..
        } = self;
        if finished > 0 {
            metrics::counter!("oncebox_consumer_deduplicated_total", &labels)
                .increment(finished as u64);
        }
        metrics::counter!("oncebox_consumer_expired_total", &labels).increment(unknown as u64);
        tracing::warn!(
            group = self.group,
            topic = self.topic,
            partition = self.partition,
            finished,
            unknown,
            "records came again that are older than what the inbox remembers"
        );
    }
}
