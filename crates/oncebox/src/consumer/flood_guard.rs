//! The partition's flood guard as its two halves share it: each decision is told (metric, log, health check).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sqlx::{PgConnection, PgPool};
use telemetry::emit;

use super::happening::{DeadLetterPutOff, FloodGuardClosed, FloodGuardOpened};
use super::health::ConsumerHealth;
use crate::failure::Failure;
use crate::flood::FloodPolicy;
use crate::flood::guard::{Change, Guard, Permit, Ruling, Side};
use crate::flood::store;
use crate::ownership::{self, Place};
use crate::record::{Delivery, Record};

#[derive(Debug)]
pub(super) struct FloodGuard {
    group: String,
    topic: String,
    partition: i32,
    guard: Mutex<Guard>,
    health: ConsumerHealth,
}

impl FloodGuard {
    /// As an earlier owner left it.
    pub(super) async fn begin(
        pool: &PgPool,
        place: Place<'_>,
        policy: FloodPolicy,
        health: ConsumerHealth,
    ) -> Result<Self, sqlx::Error> {
        let kept = store::load(pool, place).await?;
        let guard = Self {
            group: place.consumer.to_owned(),
            topic: place.topic.to_owned(),
            partition: place.partition,
            guard: Mutex::new(Guard::new(policy, kept, Instant::now())),
            health,
        };
        let closed = guard.lock().closed_for().map(str::to_owned);
        if let Some(code) = closed {
            guard.tell_closed(&code);
        }
        Ok(guard)
    }

    /// Never held over an await.
    fn lock(&self) -> MutexGuard<'_, Guard> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed_for().is_some()
    }

    pub(super) fn permit(&self, side: Side, records: usize) -> Permit {
        self.lock().permit(Instant::now(), side, records)
    }

    /// A permit that came to no try.
    pub(super) fn inconclusive(&self, side: Side) {
        self.lock().inconclusive(side);
    }

    /// A commit handled these deliveries, perhaps none. True when that opened the guard.
    pub(super) fn succeeded<M>(&self, side: Side, deliveries: &[Delivery<M>]) -> bool {
        let offsets = deliveries.iter().map(|delivery| delivery.record.offset);
        let change = {
            let mut guard = self.lock();
            guard.inconclusive(side);
            guard.succeeded(Instant::now(), deliveries.len(), offsets)
        };
        let Some(Change::Opened { lasted }) = change else {
            return false;
        };
        self.health.set_guard(&self.topic, self.partition, None);
        emit(FloodGuardOpened {
            group: &self.group,
            topic: &self.topic,
            partition: self.partition,
            lasted,
        });
        true
    }

    /// A record failed. `last`: by the retry policy it is to be dead-lettered now.
    pub(super) fn failed(
        &self,
        side: Side,
        record: &Record,
        failure: &Failure,
        last: bool,
    ) -> Ruling {
        let (ruling, change, slots) = {
            let (mut guard, now) = (self.lock(), Instant::now());
            let (ruling, change) = guard.failed(now, side, record.offset, failure, last);
            (ruling, change, guard.slots(now))
        };
        if change == Some(Change::Closed) {
            self.tell_closed(failure.code);
        }
        if ruling == Ruling::PutOff && last {
            emit(DeadLetterPutOff {
                group: &self.group,
                topic: &self.topic,
                partition: self.partition,
                offset: record.offset,
                failure,
                slots,
            });
        }
        ruling
    }

    /// Writes what must survive, with a transaction that has checked the ownership: seldom anything. Returns the
    /// revision, for [`FloodGuard::saved`] when that has committed.
    pub(super) async fn save(
        &self,
        tx: &mut PgConnection,
        place: Place<'_>,
    ) -> Result<Option<i64>, sqlx::Error> {
        let kept = self.lock().keep_due(Instant::now());
        let Some(kept) = kept else { return Ok(None) };
        store::save(tx, place, &kept).await?;
        Ok(Some(kept.revision))
    }

    pub(super) fn saved(&self, revision: Option<i64>) {
        if let Some(revision) = revision {
            self.lock().saved(Instant::now(), revision);
        }
    }

    /// Leaves it to the next owner, with what the successes since the last write have earned.
    pub(super) async fn leave(
        &self,
        pool: &PgPool,
        place: Place<'_>,
        epoch: i64,
    ) -> Result<(), sqlx::Error> {
        let kept = self.lock().keep_last(Instant::now());
        let Some(kept) = kept else { return Ok(()) };
        let mut tx = pool.begin().await?;
        if ownership::check(&mut tx, place, epoch).await? {
            store::save(&mut tx, place, &kept).await?;
        }
        tx.commit().await
    }

    fn tell_closed(&self, code: &str) {
        let problem = format!(
            "{}/{} is paused by its flood guard: records fail with {code}, one at a time probes",
            self.topic, self.partition
        );
        self.health
            .set_guard(&self.topic, self.partition, Some(problem));
        emit(FloodGuardClosed {
            group: &self.group,
            topic: &self.topic,
            partition: self.partition,
            code,
        });
    }
}

impl Drop for FloodGuard {
    fn drop(&mut self) {
        // The next owner tells whether it is closed.
        self.health.set_guard(&self.topic, self.partition, None);
        let closed = self.lock().closed_for().is_some();
        if closed {
            FloodGuardClosed::no_more(&self.group, &self.topic, self.partition);
        }
    }
}
