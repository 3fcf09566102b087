//! What librdkafka calls while it is polled: partitions come and go, commits end, figures arrive.
//!
//! Everything here runs on the poll thread, inside `poll`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::Arc;
use telemetry::emit;
use tokio_util::sync::CancellationToken;

use super::buffer::{Buffer, Share};
use super::happening::{AssignmentChanged, CommitFailed, LagSeen};
use super::health::ConsumerHealth;
use super::partition::{Owned, Partition, Task, end_tasks};

/// Starts the task that handles a partition.
pub(super) type StartTask = Box<dyn Fn(Arc<Partition>) -> Task + Send + Sync>;

/// The group membership of one consumer.
pub(super) struct Group {
    pub(super) name: String,
    pub(super) health: ConsumerHealth,
    pub(super) stop: CancellationToken,
    share: Arc<Share>,
    pub(super) deadline: Duration,
    pub(super) start_task: StartTask,
    owned: Mutex<Owned>,
    /// Counts the assignments.
    assignment: AtomicU64,
}

impl Group {
    pub(super) fn new(
        name: String,
        health: ConsumerHealth,
        stop: CancellationToken,
        share: Share,
        deadline: Duration,
        start_task: StartTask,
    ) -> Self {
        Self {
            name,
            health,
            stop,
            share: Arc::new(share),
            deadline,
            start_task,
            owned: Mutex::default(),
            assignment: AtomicU64::new(0),
        }
    }

    /// Differs from what it was when another set of partitions was owned.
    pub(super) fn assignment(&self) -> u64 {
        self.assignment.load(Ordering::Acquire)
    }

    pub(super) fn owned(&self) -> MutexGuard<'_, Owned> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn assigned(&self, list: &TopicPartitionList) {
        let mut owned = self.owned();
        for element in list.elements() {
            let buffer = Buffer::new(Arc::clone(&self.share));
            let partition = Arc::new(Partition::new(
                element.topic(),
                element.partition(),
                buffer,
                self.stop.child_token(),
            ));
            partition.set_task((self.start_task)(Arc::clone(&partition)));
            owned.insert(partition);
        }
        self.changed("assigned", list.count(), owned.len());
    }

    fn revoked(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let lost = consumer.assignment_lost();
        let (leaving, left) = {
            let mut owned = self.owned();
            let leaving: Vec<_> = list
                .elements()
                .iter()
                .filter_map(|element| owned.remove(element.topic(), element.partition()))
                .collect();
            (leaving, owned.len())
        };
        // A lost partition belongs to somebody else already: there is nothing to wait for and nothing to say.
        let deadline = if lost { Duration::ZERO } else { self.deadline };
        end_tasks(&leaving, deadline);
        if !lost {
            self.commit_now(consumer, &leaving);
        }
        self.changed(if lost { "lost" } else { "revoked" }, leaving.len(), left);
    }

    /// Commits what these partitions have finished and waits for the broker's answer.
    pub(super) fn commit_now(&self, consumer: &BaseConsumer<Self>, partitions: &[Arc<Partition>]) {
        let Some(offsets) = finished_offsets(partitions.iter()) else {
            return;
        };
        if let Err(error) = consumer.commit(&offsets, CommitMode::Sync) {
            emit(CommitFailed {
                group: &self.name,
                error: &error.to_string(),
            });
        }
    }

    fn changed(&self, what: &'static str, partitions: usize, owned: usize) {
        self.health.set_assigned(owned);
        self.share.divide(owned);
        self.assignment.fetch_add(1, Ordering::AcqRel);
        if partitions > 0 {
            emit(AssignmentChanged {
                group: &self.name,
                what,
                partitions,
                owned,
            });
        }
    }
}

/// The partitions as librdkafka wants them.
pub(super) fn list_of<'a>(
    partitions: impl Iterator<Item = &'a Arc<Partition>>,
) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(&partition.topic, partition.number);
    }
    list
}

/// The finished prefixes that the broker does not know yet; they are noted as committed.
pub(super) fn finished_offsets<'a>(
    partitions: impl Iterator<Item = &'a Arc<Partition>>,
) -> Option<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        if let Some(offset) = partition.to_commit()
            && list
                .add_partition_offset(&partition.topic, partition.number, Offset::Offset(offset))
                .is_ok()
        {
            partition.set_committed(offset);
        }
    }
    (list.count() > 0).then_some(list)
}

impl ConsumerContext for Group {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => self.assigned(list),
            Rebalance::Revoke(list) => self.revoked(consumer, list),
            Rebalance::Error(error) => {
                tracing::error!(group = self.name, %error, "rebalance failed")
            }
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        // Resumed when each has its own queue: what is fetched before that comes to the common one, and is fetched again.
        if let Rebalance::Assign(list) = rebalance
            && list.count() > 0
            && let Err(error) = consumer.pause(list)
        {
            tracing::warn!(group = self.name, %error, "assigned partitions not paused");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        let Err(error) = result else { return };
        if matches!(&error, KafkaError::ConsumerCommit(code) if *code == rdkafka::types::RDKafkaErrorCode::NoOffset)
        {
            return;
        }
        emit(CommitFailed {
            group: &self.name,
            error: &error.to_string(),
        });
        // Told again with the next round, also when nothing new is finished until then.
        let owned = self.owned();
        for element in offsets.elements() {
            if let Some(partition) = owned.get(element.topic(), element.partition()) {
                partition.forget_committed();
            }
        }
    }
}

impl ClientContext for Group {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters arrives as an error event and is logged once; this is each connection attempt.
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(group = self.name, facility, message, "librdkafka");
            }
            _ => tracing::debug!(group = self.name, facility, message, "librdkafka"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(group = self.name, %error, reason, "librdkafka error");
    }

    fn stats(&self, statistics: Statistics) {
        // A broker of the cluster, not merely an address to begin with (those have negative ids). Without this an
        // idle consumer would seem cut off until the next record.
        let mut brokers = statistics.brokers.values();
        if brokers.any(|broker| broker.nodeid >= 0 && broker.state == "UP") {
            self.health.broker_connected();
        }
        let owned = self.owned();
        for topic in statistics.topics.values() {
            for seen in topic.partitions.values() {
                let Some(partition) = owned.get(&topic.topic, seen.partition) else {
                    continue;
                };
                // ls: last stable offset, the end as a read_committed consumer sees it.
                let position = partition.finished().unwrap_or(seen.committed_offset);
                if seen.ls_offset >= 0 && position >= 0 {
                    emit(LagSeen {
                        group: &self.name,
                        topic: &topic.topic,
                        partition: seen.partition,
                        records: (seen.ls_offset - position).max(0),
                    });
                }
            }
        }
    }
}
