//! Reading spans of a topic through a consumer that joins no group.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::DateTime;
use oncebox::Record;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::super::InspectError;
use crate::kafka_log::Reports;

const POLL: Duration = Duration::from_millis(100);

/// Which records a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Those of committed transactions, and those written without one.
    #[default]
    Committed,
    /// All, also of transactions that are open or were aborted.
    Uncommitted,
}

impl Isolation {
    /// As Kafka spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "read_committed",
            Self::Uncommitted => "read_uncommitted",
        }
    }
}

/// Offsets `start..end` of a partition.
#[derive(Debug, Clone, Copy)]
pub(in crate::inspect) struct Span {
    pub(in crate::inspect) partition: i32,
    pub(in crate::inspect) start: i64,
    pub(in crate::inspect) end: i64,
}

/// What a visitor says after each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::inspect) enum Verdict {
    GoOn,
    PartitionDone,
    Stop,
}

/// How a scan ended.
#[derive(Debug)]
pub(in crate::inspect) struct Outcome {
    /// Next offset by partition.
    pub(in crate::inspect) positions: BTreeMap<i32, i64>,
    pub(in crate::inspect) scanned: u64,
    pub(in crate::inspect) timed_out: bool,
}

/// A consumer for one scan of one topic.
pub(in crate::inspect) struct Scan {
    consumer: BaseConsumer<Reports>,
    topic: String,
}

impl Scan {
    pub(in crate::inspect) fn new(
        config: &ClientConfig,
        topic: &str,
        isolation: Isolation,
    ) -> Result<Self, InspectError> {
        let mut config = config.clone();
        config
            // librdkafka wants a group name to assign partitions by hand; nothing joins or commits under it.
            .set("group.id", "oncebox-inspect")
            .set("isolation.level", isolation.as_str())
            .set("enable.partition.eof", "true")
            .set("enable.auto.offset.store", "false")
            // Records that retention takes away while a page is read are skipped, not an error.
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "20")
            .set("queued.max.messages.kbytes", "16384");
        let consumer = config
            .create_with_context(Reports)
            .map_err(InspectError::Configuration)?;
        Ok(Self {
            consumer,
            topic: topic.to_owned(),
        })
    }

    /// Shows each record of the spans to `visit`, until all are read, it says stop, or time is up.
    pub(in crate::inspect) fn run(
        self,
        spans: &[Span],
        deadline: Instant,
        mut visit: impl FnMut(&BorrowedMessage<'_>) -> Verdict,
    ) -> Result<Outcome, InspectError> {
        let away = |source| InspectError::away("read records", source);
        let mut positions: BTreeMap<i32, i64> = spans
            .iter()
            .map(|span| (span.partition, span.start))
            .collect();
        let mut open: BTreeMap<i32, i64> = spans
            .iter()
            .filter(|span| span.start < span.end)
            .map(|span| (span.partition, span.end))
            .collect();
        let mut assignment = TopicPartitionList::new();
        for span in spans.iter().filter(|span| span.start < span.end) {
            assignment
                .add_partition_offset(&self.topic, span.partition, Offset::Offset(span.start))
                .map_err(away)?;
        }
        self.consumer.assign(&assignment).map_err(away)?;
        let mut scanned = 0;
        let mut trouble = None;
        while !open.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            match self.consumer.poll(left.min(POLL)) {
                None => {}
                Some(Ok(message)) => {
                    let Some(end) = open.get(&message.partition()).copied() else {
                        continue;
                    };
                    let next = message.offset() + 1;
                    if next > end {
                        self.finish(&mut open, message.partition())?;
                        positions.insert(message.partition(), end);
                        continue;
                    }
                    positions.insert(message.partition(), next);
                    scanned += 1;
                    match visit(&message) {
                        Verdict::Stop => {
                            return Ok(Outcome {
                                positions,
                                scanned,
                                timed_out: false,
                            });
                        }
                        Verdict::PartitionDone => self.finish(&mut open, message.partition())?,
                        Verdict::GoOn if next == end => {
                            self.finish(&mut open, message.partition())?
                        }
                        Verdict::GoOn => {}
                    }
                }
                // The rest of the span holds transaction markers only.
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    if let Some(end) = open.get(&partition).copied() {
                        positions.insert(partition, end);
                        self.finish(&mut open, partition)?;
                    }
                }
                Some(Err(error)) => match error.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::Fatal) => {
                        return Err(away(error));
                    }
                    // librdkafka reconnects by itself until the deadline.
                    _ => trouble = Some(error),
                },
            }
        }
        match trouble {
            Some(error) if scanned == 0 && !open.is_empty() => Err(away(error)),
            _ => Ok(Outcome {
                positions,
                scanned,
                timed_out: !open.is_empty(),
            }),
        }
    }

    fn finish(&self, open: &mut BTreeMap<i32, i64>, partition: i32) -> Result<(), InspectError> {
        open.remove(&partition);
        let mut done = TopicPartitionList::new();
        done.add_partition(&self.topic, partition);
        self.consumer
            .pause(&done)
            .map_err(|source| InspectError::away("read records", source))
    }
}

/// A copy that outlives the consumer's buffers.
pub(crate) fn owned(message: &BorrowedMessage<'_>) -> Record {
    Record {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message
            .timestamp()
            .to_millis()
            .and_then(DateTime::from_timestamp_millis),
        key: message.key().map(Bytes::copy_from_slice),
        value: message.payload().map(Bytes::copy_from_slice),
        headers: oncebox::Headers::from_kafka(message),
    }
}
