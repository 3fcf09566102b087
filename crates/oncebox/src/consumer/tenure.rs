//! One ownership of a partition, from its assignment to its end: the epoch, and which keys are parked. Shared by the
//! two that work for it, the one that takes records from the topic and the one that tries parked ones again.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::PgPool;
use telemetry::emit;
use tokio::sync::Notify;

use super::flood_guard::FloodGuard;
use super::happening::{ParkingDepth, RecordsParked};
use super::health::ConsumerHealth;
use crate::flood::FloodPolicy;
use crate::ownership::{self, Place};
use crate::parking::Lane;
use crate::parking::lanes::Lanes;
use crate::parking::store;

#[derive(Debug)]
pub(super) struct Tenure {
    group: String,
    topic: String,
    partition: i32,
    pub(super) epoch: i64,
    lanes: Mutex<Lanes<Lane>>,
    /// Parked records.
    records: AtomicI64,
    /// Rung when something was parked, or may be tried again.
    pub(super) parked: Notify,
    pub(super) guard: FloodGuard,
}

impl Tenure {
    /// Takes the partition over: first the epoch, so that nobody else changes what is read after it.
    pub(super) async fn begin(
        pool: &PgPool,
        place: Place<'_>,
        flood: FloodPolicy,
        health: ConsumerHealth,
    ) -> Result<Self, sqlx::Error> {
        let epoch = ownership::raise(pool, place).await?;
        let (lanes, records) = store::load(pool, place).await?;
        let guard = FloodGuard::begin(pool, place, flood, health).await?;
        let tenure = Self {
            group: place.consumer.to_owned(),
            topic: place.topic.to_owned(),
            partition: place.partition,
            epoch,
            lanes: Mutex::new(Lanes::new(lanes)),
            records: AtomicI64::new(records),
            parked: Notify::new(),
            guard,
        };
        if records > 0 {
            tenure.tell();
        }
        Ok(tenure)
    }

    pub(super) fn place(&self) -> Place<'_> {
        Place {
            consumer: &self.group,
            topic: &self.topic,
            partition: self.partition,
        }
    }

    /// Never held over an await.
    pub(super) fn lanes(&self) -> MutexGuard<'_, Lanes<Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn records(&self) -> i64 {
        self.records.load(Ordering::Acquire)
    }

    /// Notes that records were parked, or (negative) taken out.
    pub(super) fn changed(&self, records: i64) {
        self.records.fetch_add(records, Ordering::AcqRel);
        self.tell();
        if records > 0 {
            emit(RecordsParked {
                group: &self.group,
                topic: &self.topic,
                partition: self.partition,
                records: records.unsigned_abs(),
            });
            self.parked.notify_one();
        }
    }

    /// Forgets keys that the database does not have, unless something was parked since `version` was read.
    pub(super) fn forget_others(&self, version: u64, parked: &BTreeSet<Lane>, records: i64) {
        let mut lanes = self.lanes();
        if lanes.version() == version {
            lanes.forget_others(version, parked);
            self.records.store(records, Ordering::Release);
        }
    }

    fn tell(&self) {
        emit(ParkingDepth {
            group: &self.group,
            topic: &self.topic,
            partition: self.partition,
            records: self.records(),
            keys: self.lanes().len(),
        });
    }
}

impl Drop for Tenure {
    fn drop(&mut self) {
        // The next owner tells how many there are; the sum over all members must not count them twice.
        emit(ParkingDepth {
            group: &self.group,
            topic: &self.topic,
            partition: self.partition,
            records: 0,
            keys: 0,
        });
    }
}
