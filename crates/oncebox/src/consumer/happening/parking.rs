//! What happens around parked keys and the ownership of partitions.

use telemetry::Happening;

/// Records were parked.
pub(crate) struct RecordsParked<'a> {
    pub(crate) group: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) records: u64,
}

impl Happening for RecordsParked<'_> {
    fn emit(self) {
        metrics::counter!("oncebox_consumer_parked_total", "group" => self.group.to_owned(),
            "topic" => self.topic.to_owned())
        .increment(self.records);
        tracing::debug!(
            group = self.group,
            topic = self.topic,
            partition = self.partition,
            records = self.records,
            "records parked"
        );
    }
}

/// How much of a partition is parked.
pub(crate) struct ParkingDepth<'a> {
    pub(crate) group: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) records: i64,
    pub(crate) keys: usize,
}

impl Happening for ParkingDepth<'_> {
    fn emit(self) {
        let labels = [
            ("group", self.group.to_owned()),
            ("topic", self.topic.to_owned()),
            ("partition", self.partition.to_string()),
        ];
        metrics::gauge!("oncebox_consumer_parked_records", &labels).set(self.records as f64);
        metrics::gauge!("oncebox_consumer_parked_keys", &labels).set(self.keys as f64);
    }
}

/// As much is parked as may be; the partition waits until less is.
pub(crate) struct ParkingFull<'a> {
    pub(crate) group: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) full: bool,
    pub(crate) records: i64,
}

impl Happening for ParkingFull<'_> {
    fn emit(self) {
        metrics::gauge!("oncebox_consumer_parking_full", "group" => self.group.to_owned(),
            "topic" => self.topic.to_owned(), "partition" => self.partition.to_string())
        .set(if self.full { 1.0 } else { 0.0 });
        if self.full {
            tracing::error!(
                group = self.group,
                topic = self.topic,
                partition = self.partition,
                records = self.records,
                "as many records are parked as may be, the partition waits"
            );
        } else {
            tracing::info!(
                group = self.group,
                topic = self.topic,
                partition = self.partition,
                records = self.records,
                "there is room in the parking again, the partition goes on"
            );
        }
    }
}

/// A parked key goes back to the normal path.
pub(crate) struct KeyReturned<'a> {
    pub(crate) group: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
}

impl Happening for KeyReturned<'_> {
    fn emit(self) {
        metrics::counter!("oncebox_consumer_keys_returned_total", "group" => self.group.to_owned(),
            "topic" => self.topic.to_owned())
        .increment(1);
        tracing::debug!(
            group = self.group,
            topic = self.topic,
            partition = self.partition,
            "a parked key goes back to the normal path"
        );
    }
}

/// Another process owns a partition that this one works for.
pub(crate) struct Superseded<'a> {
    pub(crate) group: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
}

impl Happening for Superseded<'_> {
    fn emit(self) {
        metrics::counter!("oncebox_consumer_superseded_total", "group" => self.group.to_owned())
            .increment(1);
        tracing::warn!(
            group = self.group,
            topic = self.topic,
            partition = self.partition,
            "another process owns the partition, nothing is committed here any more"
        );
    }
}
