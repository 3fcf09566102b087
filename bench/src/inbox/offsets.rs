//! How far a group has come, as the broker knows it.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::ground::PARTITIONS;

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A drain seen from the outside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    /// When the first commit was seen, and how many records it covered.
    pub(crate) first: (Instant, u64),
    /// When the last commit was seen.
    pub(crate) last: Instant,
}

impl Progress {
    /// Records a second, without those of the first commit.
    pub(crate) fn per_second(&self, records: u64) -> f64 {
        let (at, covered) = self.first;
        (records - covered) as f64 / (self.last - at).as_secs_f64()
    }
}

/// Waits until the group has committed all `records` of the topic. Blocks.
pub(crate) fn committed(
    kafka: &str,
    group: &str,
    topic: &str,
    records: u64,
    patience: Duration,
) -> anyhow::Result<Progress> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("group.id", group)
        .create()?;
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_range(topic, 0, PARTITIONS - 1);
    let (started, mut first) = (Instant::now(), None);
    loop {
        let offsets = match consumer.committed_offsets(partitions.clone(), CALL_TIMEOUT) {
            Ok(offsets) => offsets,
            // A new broker has no coordinator for a moment, and an old one may move it.
            Err(error) => {
                ensure!(
                    started.elapsed() < patience,
                    "no committed offsets: {error}"
                );
                std::thread::sleep(LOOK_EVERY);
                continue;
            }
        };
        let now = Instant::now();
        let sum: i64 = offsets
            .elements()
            .iter()
            .map(|element| match element.offset() {
                Offset::Offset(offset) => offset,
                _ => 0,
            })
            .sum();
        let covered = u64::try_from(sum).unwrap_or(0);
        if covered > 0 {
            first.get_or_insert((now, covered));
        }
        if covered >= records {
            let first = first.context("nothing was committed")?;
            ensure!(
                first.1 < records,
                "all {records} records were committed at once: too few to measure"
            );
            return Ok(Progress { first, last: now });
        }
        ensure!(
            started.elapsed() < patience,
            "{covered} of {records} records were committed within {} s",
            patience.as_secs()
        );
        std::thread::sleep(LOOK_EVERY);
    }
}
