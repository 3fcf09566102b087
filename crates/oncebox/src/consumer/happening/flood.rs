//! What the flood guard of a partition does.

use std::time::Duration;

use telemetry::Happening;

use crate::failure::Failure;

/// The guard closed: the partition is paused, one record at a time probes.
pub(crate) struct FloodGuardClosed<'a> {
    pub(crate) group: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) code: &'a str,
}

impl FloodGuardClosed<'_> {
    /// Takes the gauge back, where another owner tells from now on.
    pub(crate) fn no_more(group: &str, topic: &str, partition: i32) {
        gauge(group, topic, partition, 0.0);
    }
}

impl Happening for FloodGuardClosed<'_> {
    fn emit(self) {
        metrics::counter!("oncebox_consumer_flood_guard_closings_total", "group" => self.group.to_owned(),
            "topic" => self.topic.to_owned(), "code" => self.code.to_owned())
        .increment(1);
        gauge(self.group, self.topic, self.partition, 1.0);
        tracing::error!(
            group = self.group,
            topic = self.topic,
            partition = self.partition,
            code = self.code,
            "too many records fail, the partition is paused and one record at a time probes"
        );
    }
}

/// A probe succeeded.
pub(crate) struct FloodGuardOpened<'a> {
    pub(crate) group: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) lasted: Duration,
}

impl Happening for FloodGuardOpened<'_> {
    fn emit(self) {
        gauge(self.group, self.topic, self.partition, 0.0);
        metrics::histogram!("oncebox_consumer_flood_guard_closed_seconds", "group" => self.group.to_owned())
            .record(self.lasted.as_secs_f64());
        tracing::info!(
            group = self.group,
            topic = self.topic,
            partition = self.partition,
            lasted_ms = self.lasted.as_millis() as u64,
            "a record succeeded, the partition goes on"
        );
    }
}

/// A record would be dead-lettered by its attempts or its class, and is parked instead.
pub(crate) struct DeadLetterPutOff<'a> {
    pub(crate) group: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) failure: &'a Failure,
    /// Dead-letter slots that are free.
    pub(crate) slots: u64,
}

impl Happening for DeadLetterPutOff<'_> {
    fn emit(self) {
        metrics::counter!("oncebox_consumer_dead_letters_put_off_total", "group" => self.group.to_owned(),
            "topic" => self.topic.to_owned(), "class" => self.failure.class.as_str(), "code" => self.failure.code)
        .increment(1);
        tracing::warn!(
            group = self.group,
            topic = self.topic,
            partition = self.partition,
            offset = self.offset,
            class = self.failure.class.as_str(),
            code = self.failure.code,
            site = self.failure.site,
            error = self.failure.message,
            slots = self.slots,
            "no dead letter yet: too many records fail, it waits in the parking"
        );
    }
}

fn gauge(group: &str, topic: &str, partition: i32, closed: f64) {
    metrics::gauge!("oncebox_consumer_flood_guard_closed", "group" => group.to_owned(),
        "topic" => topic.to_owned(), "partition" => partition.to_string())
    .set(closed);
}
