//! The thread that polls: it fetches, commits, pauses and resumes, and never waits for a handler.
//!
//! A group expels a member that does not poll, so nothing here may depend on how long handling takes. A paused
//! partition is polled all the same.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::DateTime;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::TopicPartitionList;
use telemetry::emit;

use super::ConsumerError;
use super::group::{Group, finished_offsets};
use super::happening::{BrokerTrouble, CommitFailed};
use super::partition::{Partition, end_tasks};
use crate::headers::Headers;
use crate::record::Record;

/// Longest wait for records, and so the longest until shutdown is noticed.
const IDLE: Duration = Duration::from_millis(100);
/// Between rounds of commits, pauses and resumes; also the wait for records while a partition is paused.
const ROUND: Duration = Duration::from_millis(20);
/// Between commits: each is a request and a record in the broker's offsets topic.
const COMMIT_EVERY: Duration = Duration::from_millis(200);
/// How long the group may take to tell this member that it lost a partition which another process works for.
const SUPERSEDED_FOR: Duration = Duration::from_secs(30);

/// Polls until the group is told to stop, then ends all tasks, commits and leaves.
pub(super) fn run(consumer: BaseConsumer<Group>) -> Result<(), ConsumerError> {
    let group = Arc::clone(consumer.context());
    let result = poll_until_stopped(&consumer, &group);
    let partitions = group.owned().drain();
    end_tasks(&partitions, group.deadline);
    group.commit_now(&consumer, &partitions);
    // Leaves the group at once instead of by session timeout; dropping closes the consumer.
    drop(consumer);
    result
}

fn poll_until_stopped(consumer: &BaseConsumer<Group>, group: &Group) -> Result<(), ConsumerError> {
    let (mut last_round, mut last_commit) = (Instant::now(), Instant::now());
    let mut any_paused = false;
    while !group.stop.is_cancelled() {
        match consumer.poll(if any_paused { ROUND } else { IDLE }) {
            Some(Ok(message)) => deliver(consumer, group, &message),
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                return Err(ConsumerError::Fatal(code.to_string()));
            }
            Some(Err(error)) => trouble(group, &error),
            None => {}
        }
        let now = Instant::now();
        if now - last_round < ROUND {
            continue;
        }
        last_round = now;
        group.health.polled();
        any_paused = resume(consumer, group);
        if now - last_commit >= COMMIT_EVERY {
            last_commit = now;
            commit(consumer, group);
            check_tasks(group)?;
        }
    }
    Ok(())
}

fn check_tasks(group: &Group) -> Result<(), ConsumerError> {
    for partition in group.owned().iter() {
        let (topic, number) = (partition.topic.clone(), partition.number);
        if partition.task_died() {
            return Err(ConsumerError::TaskDied {
                topic,
                partition: number,
            });
        }
        if partition
            .superseded_for()
            .is_some_and(|time| time > SUPERSEDED_FOR)
        {
            return Err(ConsumerError::Superseded {
                topic,
                partition: number,
            });
        }
    }
    Ok(())
}

fn deliver(consumer: &BaseConsumer<Group>, group: &Group, message: &BorrowedMessage<'_>) {
    let partition = group
        .owned()
        .get(message.topic(), message.partition())
        .map(Arc::clone);
    // Fetched before a rebalance took the partition away: its new owner gets it.
    let Some(partition) = partition else { return };
    group.health.broker_delivers();
    if partition.buffer.push(record(message)) && partition.set_paused(true) {
        let list = list_of(std::iter::once(&partition));
        if let Err(error) = consumer.pause(&list) {
            partition.set_paused(false);
            tracing::warn!(group = group.name, %error, "partition not paused; its buffer grows");
        }
    }
}

/// Resumes partitions whose buffers have room; true when some are still paused.
fn resume(consumer: &BaseConsumer<Group>, group: &Group) -> bool {
    let paused: Vec<Arc<Partition>> = group
        .owned()
        .iter()
        .filter(|partition| partition.is_paused())
        .map(Arc::clone)
        .collect();
    let (hungry, full): (Vec<_>, Vec<_>) = paused
        .into_iter()
        .partition(|partition| partition.buffer.wants_more());
    if !hungry.is_empty() {
        match consumer.resume(&list_of(hungry.iter())) {
            Ok(()) => hungry.iter().for_each(|partition| {
                partition.set_paused(false);
            }),
            Err(error) => tracing::warn!(group = group.name, %error, "partitions not resumed"),
        }
    }
    !full.is_empty()
}

fn commit(consumer: &BaseConsumer<Group>, group: &Group) {
    let offsets = finished_offsets(group.owned().iter());
    let Some(offsets) = offsets else { return };
    if let Err(error) = consumer.commit(&offsets, CommitMode::Async) {
        emit(CommitFailed {
            group: &group.name,
            error: &error.to_string(),
        });
    }
}

fn trouble(group: &Group, error: &KafkaError) {
    // A replay topic that does not exist yet is no trouble: librdkafka finds it when it is created.
    if matches!(
        error,
        KafkaError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition)
    ) {
        tracing::debug!(group = group.name, "a subscribed topic does not exist yet");
        return;
    }
    let text = error.to_string();
    let connection = matches!(
        error,
        KafkaError::MessageConsumption(
            RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::OperationTimedOut
        )
    );
    if group.health.set_broker_problem(&text, connection) {
        emit(BrokerTrouble {
            group: &group.name,
            error: &text,
        });
    }
}

fn list_of<'a>(partitions: impl Iterator<Item = &'a Arc<Partition>>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(&partition.topic, partition.number);
    }
    list
}

fn record(message: &BorrowedMessage<'_>) -> Record {
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
        headers: headers(message),
    }
}

/// The binding panics at a header whose name is not UTF-8; one foreign record must not end the process.
fn headers(message: &BorrowedMessage<'_>) -> Headers {
    let all = std::panic::catch_unwind(AssertUnwindSafe(|| Headers::from_kafka(message)));
    all.unwrap_or_else(|_| {
        use rdkafka::message::Headers as _;
        tracing::warn!(
            topic = message.topic(),
            partition = message.partition(),
            offset = message.offset(),
            "a header's name is not utf-8; that header is left out"
        );
        let mut readable = Headers::new();
        if let Some(headers) = message.headers() {
            for index in 0..headers.count() {
                let one = std::panic::catch_unwind(AssertUnwindSafe(|| {
                    headers
                        .try_get(index)
                        .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                }));
                if let Ok(Some((name, value))) = one {
                    readable.push_raw(name, value);
                }
            }
        }
        readable
    })
}
