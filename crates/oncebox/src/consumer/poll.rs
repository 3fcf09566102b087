//! The thread that polls: it fetches and commits, and never waits for a handler.
//!
//! A group expels a member that does not poll, so nothing here may depend on how long handling takes.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::DateTime;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use telemetry::emit;

use super::ConsumerError;
use super::bell::Bell;
use super::group::{Group, finished_offsets};
use super::happening::{BrokerTrouble, CommitFailed};
use super::intake::Intakes;
use super::partition::{Partition, end_tasks};
use crate::headers::Headers;
use crate::record::Record;

/// Longest wait for something to do, and so the longest until shutdown is noticed.
const IDLE: Duration = Duration::from_millis(100);
/// Between looks at the clock for what is done now and then.
const ROUND: Duration = Duration::from_millis(20);
/// Between commits: each is a request and a record in the broker's offsets topic.
const COMMIT_EVERY: Duration = Duration::from_millis(200);
/// How long the group may take to tell this member that it lost a partition which another process works for.
const SUPERSEDED_FOR: Duration = Duration::from_secs(30);

/// Polls until the group is told to stop, then ends all tasks, commits and leaves. The bell rings when there is room in a
/// buffer.
pub(super) fn run(
    mut consumer: BaseConsumer<Group>,
    bell: &Arc<Bell>,
) -> Result<(), ConsumerError> {
    let ringing = Arc::clone(bell);
    consumer.set_nonempty_callback(move || ringing.ring());
    let consumer = Arc::new(consumer);
    let group = Arc::clone(consumer.context());
    let result = poll_until_stopped(&consumer, &group, bell);
    let partitions = group.owned().drain();
    end_tasks(&partitions, group.deadline);
    group.commit_now(&consumer, &partitions);
    // Leaves the group at once instead of by session timeout; dropping closes the consumer.
    drop(consumer);
    result
}

fn poll_until_stopped(
    consumer: &Arc<BaseConsumer<Group>>,
    group: &Group,
    bell: &Arc<Bell>,
) -> Result<(), ConsumerError> {
    let mut intakes = Intakes::new(Arc::clone(consumer), Arc::clone(bell));
    let (mut last_round, mut last_commit) = (Instant::now(), Instant::now());
    while !group.stop.is_cancelled() {
        bell.wait(IDLE);
        serve(consumer, group)?;
        intakes.follow()?;
        intakes
            .take_in(|partition, event| deliver(group, partition, event))
            .map_err(|code| ConsumerError::Fatal(code.to_string()))?;
        let now = Instant::now();
        if now - last_round < ROUND {
            continue;
        }
        last_round = now;
        group.health.polled();
        if now - last_commit >= COMMIT_EVERY {
            last_commit = now;
            commit(consumer, group);
            check_tasks(group)?;
        }
    }
    Ok(())
}

/// What is not a record of some partition: rebalances, answers to commits, errors, figures.
fn serve(consumer: &BaseConsumer<Group>, group: &Group) -> Result<(), ConsumerError> {
    // An event that is served within polling looks like none.
    let mut silent = 0;
    while silent < 2 {
        match consumer.poll(Duration::ZERO) {
            None => silent += 1,
            Some(Ok(message)) => {
                silent = 0;
                // Of a partition that could not be paused until it had a queue of its own.
                if let Some(partition) = owner(group, &message) {
                    partition.buffer.push(record(&message));
                }
            }
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                return Err(ConsumerError::Fatal(code.to_string()));
            }
            Some(Err(error)) => {
                silent = 0;
                trouble(group, &error);
            }
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

/// Fetched before a rebalance took the partition away, a record is nobody's here: its new owner gets it.
fn owner(group: &Group, message: &BorrowedMessage<'_>) -> Option<Arc<Partition>> {
    let owned = group.owned();
    owned
        .get(message.topic(), message.partition())
        .map(Arc::clone)
}

/// Whether there is room for more.
fn deliver(
    group: &Group,
    partition: &Partition,
    event: KafkaResult<BorrowedMessage<'_>>,
) -> Result<bool, KafkaError> {
    match event {
        Ok(message) => {
            group.health.broker_delivers();
            Ok(partition.buffer.push(record(&message)))
        }
        Err(error @ KafkaError::MessageConsumptionFatal(_)) => Err(error),
        Err(error) => {
            trouble(group, &error);
            Ok(true)
        }
    }
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
