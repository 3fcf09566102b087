//! Waiting for something that every record needs, or for a time. Each wait ends at once when the task is asked to end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use telemetry::emit;

use super::happening::{OutageBegan, OutageEnded, Superseded};
use super::health::ConsumerHealth;
use super::partition::Partition;
use crate::failure::Failure;
use crate::retry::RetryPolicy;

/// The task was asked to end: what it has not committed comes again, to it or to another.
#[derive(Debug)]
pub(super) struct Stopped;

/// Waits for one of a partition's two workers.
pub(super) struct Waiting {
    group: String,
    partition: Arc<Partition>,
    health: ConsumerHealth,
    /// Since when something is away, and how often that was noticed.
    outage: Option<(Instant, u32)>,
}

impl Waiting {
    pub(super) fn new(group: &str, partition: Arc<Partition>, health: ConsumerHealth) -> Self {
        Self {
            group: group.to_owned(),
            partition,
            health,
            outage: None,
        }
    }

    /// Something is away: says so once, waits, and lets the caller try again. Nothing is counted.
    pub(super) async fn wait_out(&mut self, failure: &Failure) -> Result<(), Stopped> {
        let (topic, partition) = (&self.partition.topic, self.partition.number);
        let (_, times) = self.outage.get_or_insert_with(|| {
            emit(OutageBegan {
                group: &self.group,
                topic,
                partition,
                failure,
            });
            (Instant::now(), 0)
        });
        *times += 1;
        let delay = RetryPolicy::OUTAGE.delay_after(*times);
        self.health
            .set_outage(topic, partition, Some(failure.to_string()));
        self.partition.hold_up(delay);
        self.sleep(delay).await
    }

    pub(super) fn outage_over(&mut self) {
        if let Some((since, _)) = self.outage.take() {
            let (topic, partition) = (&self.partition.topic, self.partition.number);
            self.health.set_outage(topic, partition, None);
            emit(OutageEnded {
                group: &self.group,
                topic,
                partition,
                lasted: since.elapsed(),
            });
        }
    }

    /// Another process owns the partition. Nothing can be done here any more: either the group tells this member
    /// that it lost the partition, or the consumer ends with an error.
    pub(super) async fn superseded(&self) -> Stopped {
        let (topic, partition) = (&self.partition.topic, self.partition.number);
        if self.partition.set_superseded() {
            emit(Superseded {
                group: &self.group,
                topic,
                partition,
            });
        }
        let problem =
            format!("{topic}/{partition} is owned by another process (consumer.superseded)");
        self.health.set_outage(topic, partition, Some(problem));
        self.partition.stop.cancelled().await;
        Stopped
    }

    /// Notes what the partition waits for; none when it waits no more.
    pub(super) fn note(&self, problem: Option<String>) {
        self.health
            .set_outage(&self.partition.topic, self.partition.number, problem);
    }

    pub(super) async fn sleep(&self, time: Duration) -> Result<(), Stopped> {
        tokio::select! {
            biased;
            () = self.partition.stop.cancelled() => Err(Stopped),
            () = tokio::time::sleep(time) => Ok(()),
        }
    }

    /// How long nothing has kept records from coming: neither an outage nor a broker that is away.
    pub(super) fn flowing_for(&self) -> Duration {
        self.partition.flowing_for()
    }

    /// Notes it while the broker is away, for [`Waiting::flowing_for`].
    pub(super) fn heed_broker(&self) {
        if self.health.status().broker_error.is_some() {
            self.partition.hold_up(Duration::ZERO);
        }
    }

    pub(super) fn go_on(&self) -> Result<(), Stopped> {
        if self.partition.stop.is_cancelled() {
            return Err(Stopped);
        }
        Ok(())
    }
}
