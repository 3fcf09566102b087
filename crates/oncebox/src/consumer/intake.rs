//! From librdkafka's queues into the partitions' buffers: each partition has a queue of its own, and is left alone while its
//! buffer is full.
//!
//! librdkafka stops fetching for a queue that is full and goes on when it is not. To pause a partition instead would throw
//! away what was fetched for it and fetch it again.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::BorrowedMessage;

use super::ConsumerError;
use super::bell::Bell;
use super::group::{Group, list_of};
use super::partition::Partition;

/// Most records of a partition in one turn. A handler that keeps up with this thread makes room for ever, and the group and
/// the other partitions have to be served as well.
const TURN: usize = 1_000;

/// The queues of all partitions that are owned.
pub(super) struct Intakes {
    consumer: Arc<BaseConsumer<Group>>,
    bell: Arc<Bell>,
    intakes: Vec<Intake>,
    /// The group's assignment that they are for.
    assignment: u64,
}

struct Intake {
    partition: Arc<Partition>,
    queue: PartitionQueue<Group>,
    paused: bool,
}

impl Intake {
    fn is_of(&self, partition: &Arc<Partition>) -> bool {
        Arc::ptr_eq(&self.partition, partition)
    }
}

impl Intakes {
    pub(super) fn new(consumer: Arc<BaseConsumer<Group>>, bell: Arc<Bell>) -> Self {
        Self {
            consumer,
            bell,
            intakes: Vec::new(),
            assignment: 0,
        }
    }

    /// Follows what the group owns now. Partitions come paused: none of their records can be in the common queue, out of
    /// order with those that come to their own.
    pub(super) fn follow(&mut self) -> Result<(), ConsumerError> {
        let group = Arc::clone(self.consumer.context());
        let assignment = group.assignment();
        if assignment == self.assignment {
            return Ok(());
        }
        let owned: Vec<Arc<Partition>> = group.owned().iter().map(Arc::clone).collect();
        self.intakes
            .retain(|intake| owned.iter().any(|partition| intake.is_of(partition)));
        for partition in &owned {
            if !self.intakes.iter().any(|intake| intake.is_of(partition)) {
                self.add(partition)?;
            }
        }
        // Not those that flow already: what is fetched for them would be thrown away.
        let paused = self.intakes.iter().filter(|intake| intake.paused);
        let paused = list_of(paused.map(|intake| &intake.partition));
        match self.consumer.resume(&paused) {
            Ok(()) => {
                self.intakes
                    .iter_mut()
                    .for_each(|intake| intake.paused = false);
                self.assignment = assignment;
            }
            Err(error) => {
                tracing::warn!(group = group.name, %error, "partitions not resumed, tried again");
            }
        }
        Ok(())
    }

    fn add(&mut self, partition: &Arc<Partition>) -> Result<(), ConsumerError> {
        let (topic, number) = (&partition.topic, partition.number);
        let queue = self.consumer.split_partition_queue(topic, number);
        let mut queue =
            queue.ok_or_else(|| ConsumerError::Fatal(format!("{topic}/{number} has no queue")))?;
        let bell = Arc::clone(&self.bell);
        queue.set_nonempty_callback(move || bell.ring());
        // The callback tells of what comes, not of what is there.
        self.bell.ring();
        self.intakes.push(Intake {
            partition: Arc::clone(partition),
            queue,
            paused: true,
        });
        Ok(())
    }

    /// Moves what was fetched to where there is room. Rings the bell where more is left.
    pub(super) fn take_in(
        &self,
        mut deliver: impl FnMut(
            &Partition,
            KafkaResult<BorrowedMessage<'_>>,
        ) -> Result<bool, KafkaError>,
    ) -> Result<(), KafkaError> {
        for Intake {
            partition, queue, ..
        } in &self.intakes
        {
            let (mut room, mut taken) = (partition.buffer.has_room(), 0);
            while room && let Some(event) = queue.poll(Duration::ZERO) {
                room = deliver(partition, event)?;
                taken += 1;
                if taken == TURN {
                    self.bell.ring();
                    break;
                }
            }
        }
        Ok(())
    }
}
