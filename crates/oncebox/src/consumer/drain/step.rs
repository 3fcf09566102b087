//! One step with a parked key: its first record tried again, or as many of its records as go through together.

use std::time::Duration;

use chrono::Utc;
use sqlx::AssertSqlSafe;
use telemetry::emit;
use uuid::Uuid;

use super::Drain;
use crate::consumer::batch::{Chunk, Decoded, decode, to_blame, whole_outage};
use crate::consumer::happening::{KeyReturned, LeftAlone, RetryScheduled};
use crate::consumer::transaction::{Judged, Origin, Try, Uncommitted, Verdict};
use crate::consumer::waiting::Stopped;
use crate::event::EventId;
use crate::failure::{ErrorClass, Failure};
use crate::flood::guard::{Permit, Ruling, Side};
use crate::handler::BatchHandler;
use crate::inbox;
use crate::ownership;
use crate::parking::decide::{LaneEnd, Next, after_failure};
use crate::parking::store::{self, Due, Head};
use crate::record::Record;

/// Most parked records of one key in one transaction.
const TOGETHER: usize = 200;

/// The first records of a key, decoded.
pub(super) struct First<M> {
    pub(super) chunk: Chunk<M>,
    /// Of each record, in order.
    pub(super) rows: Vec<Row>,
    /// The first of them, where others have to come before it: then nothing of the key is in the chunk.
    pub(super) waits: Option<Row>,
}

/// Where a parked record stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// Its number in the parking.
    pub(super) seq: i64,
    pub(super) offset: i64,
    pub(super) event_id: Uuid,
    /// Its place in its key's order, where that is not the order of arrival.
    pub(super) sequence: Option<i64>,
}

impl<H: BatchHandler> Drain<H> {
    /// Tries until something is committed: progress, or one more failed attempt. The time to wait where the flood guard
    /// lets nothing be tried.
    pub(super) async fn attend(&mut self, key: Due) -> Result<Option<Duration>, Stopped> {
        // One that failed before goes alone, as do those whose order an operator gave.
        let alone = key.attempts() > 0 || key.doomed.is_some();
        let most = self.handling.settings.batch_max_records.clamp(1, TOGETHER);
        let mut most = if alone { 1 } else { most };
        loop {
            self.waiting.go_on()?;
            if key.doomed.is_none() {
                match self.tenure.guard.permit(Side::Parking, 1) {
                    Permit::Go => {}
                    Permit::Probe | Permit::OneOnly => most = 1,
                    Permit::Wait(time) => return Ok(Some(time)),
                }
            }
            let moves = self.tenure.lanes().moves(&key.lane());
            let mut first = self.first(&key, most).await?;
            if let Some(head) = first.waits {
                self.tenure.guard.inconclusive(Side::Parking);
                self.wait_or_give_up(&key, &first, head).await?;
                return Ok(None);
            }
            let known = self.known_failure(&key, &first);
            if let Some(failure) = known {
                return self.failed(&key, &first, failure).await;
            }
            if let Some(poison) = first.chunk.poison.iter().find(|poison| !poison.slot) {
                let (record, failure) = (&poison.record, &poison.failure);
                let ruling = self
                    .tenure
                    .guard
                    .failed(Side::Parking, record, failure, true);
                if ruling != Ruling::Bury {
                    let failure = failure.clone();
                    return self.put_off(&key, &first, failure).await;
                }
            }
            match self.commit(&key, &mut first, None).await {
                Ok(end) => {
                    self.ended(&key, end, moves);
                    return Ok(None);
                }
                Err(Uncommitted::Kit(failure)) => self.waiting.wait_out(&failure).await?,
                Err(Uncommitted::Superseded) => return Err(self.waiting.superseded().await),
                Err(Uncommitted::Moved) => {}
                Err(Uncommitted::Handler(failure)) => {
                    let outage = whole_outage(&failure).cloned();
                    if let Some((failure, delivery)) = outage.zip(first.chunk.deliveries.first()) {
                        self.rule(&delivery.record, &failure, false);
                        continue;
                    }
                    let deliveries = &first.chunk.deliveries;
                    let Some((index, failure)) = to_blame(failure, deliveries.len()) else {
                        // Nobody knows which record it was: fewer, down to one.
                        most = (first.rows.len() / 2).max(1);
                        continue;
                    };
                    if failure.class == ErrorClass::Outage
                        && let Some(delivery) = deliveries.get(index)
                    {
                        self.rule(&delivery.record, &failure, false);
                        continue;
                    }
                    let offset = deliveries.get(index).map(|delivery| delivery.record.offset);
                    let before = first.rows.iter().position(|row| Some(row.offset) == offset);
                    match before {
                        Some(before) if before > 0 => {
                            self.blame = first.rows.get(before).map(|row| (row.seq, failure));
                            most = before;
                        }
                        _ => return self.failed(&key, &first, failure).await,
                    }
                }
            }
        }
    }

    /// The failure of a key's first record that needs no further try: an operator gave the record up, or a try at
    /// several has shown it.
    fn known_failure(&mut self, key: &Due, first: &First<H::Message>) -> Option<Failure> {
        let row = first.rows.first()?;
        let delivery = first.chunk.deliveries.first()?;
        if key.doomed == Some(delivery.event_id.as_uuid()) {
            return Some(store::doomed_failure(key));
        }
        self.blame
            .take_if(|(blamed, _)| *blamed == row.seq)
            .map(|(_, failure)| failure)
    }

    /// One more failed attempt of a key's first record: it waits again, or is given up.
    async fn failed(
        &mut self,
        key: &Due,
        first: &First<H::Message>,
        failure: Failure,
    ) -> Result<Option<Duration>, Stopped> {
        self.waiting.outage_over();
        let ordered = key.doomed.is_some() && failure.code == store::GIVEN_UP;
        let attempts = if ordered {
            key.attempts().max(1)
        } else {
            key.attempts() + 1
        };
        let policy = &self.handling.settings.retry;
        let next = after_failure(policy, failure.class, attempts, true);
        // An operator's order needs no slot.
        if let Some(delivery) = first.chunk.deliveries.first().filter(|_| !ordered) {
            match self.rule(&delivery.record, &failure, next == Next::Bury) {
                Ruling::Count | Ruling::Bury => {}
                Ruling::PutOff => return self.put_off(key, first, failure).await,
                Ruling::Stay => return Ok(None),
            }
        }
        let delay = match next {
            Next::Park(delay) => delay,
            Next::Again => policy.delay_after(1),
            Next::Bury => {
                let first_failed_at = key.first_failed_at.unwrap_or_else(Utc::now);
                let verdict = Verdict::Bury(Judged {
                    failure,
                    attempts,
                    first_failed_at,
                });
                self.bury(key, &verdict).await?;
                return Ok(None);
            }
        };
        self.postpone(key, first, &failure, attempts, delay).await?;
        Ok(None)
    }

    /// A failure that counts nothing: the guard is closed, or there is no slot for the dead letter.
    async fn put_off(
        &mut self,
        key: &Due,
        first: &First<H::Message>,
        failure: Failure,
    ) -> Result<Option<Duration>, Stopped> {
        let delay = self.handling.settings.retry.delay_put_off(key.attempts());
        self.postpone(key, first, &failure, key.attempts(), delay)
            .await?;
        Ok(None)
    }

    fn rule(&self, record: &Record, failure: &Failure, last: bool) -> Ruling {
        let guard = &self.tenure.guard;
        guard.failed(Side::Parking, record, failure, last)
    }

    async fn postpone(
        &mut self,
        key: &Due,
        first: &First<H::Message>,
        failure: &Failure,
        attempts: u32,
        delay: Duration,
    ) -> Result<(), Stopped> {
        loop {
            match self.note_attempt(key, failure, attempts, delay).await {
                Ok(()) => break,
                Err(Uncommitted::Superseded) => return Err(self.waiting.superseded().await),
                Err(Uncommitted::Kit(failure)) => self.waiting.wait_out(&failure).await?,
                Err(Uncommitted::Handler(_) | Uncommitted::Moved) => {}
            }
        }
        self.waiting.outage_over();
        if let Some(delivery) = first.chunk.deliveries.first() {
            emit(RetryScheduled {
                group: &self.handling.settings.group,
                record: &delivery.record,
                failure,
                attempts,
                delay,
            });
        }
        Ok(())
    }

    async fn note_attempt(
        &self,
        key: &Due,
        failure: &Failure,
        attempts: u32,
        delay: Duration,
    ) -> Result<(), Uncommitted> {
        let place = self.tenure.place();
        let mut tx = self
            .handling
            .pool
            .begin_with(AssertSqlSafe("begin".to_owned()))
            .await?;
        if !ownership::check(&mut tx, place, self.tenure.epoch).await? {
            return Err(Uncommitted::Superseded);
        }
        store::postpone(&mut tx, place, key.lane(), attempts, failure, delay).await?;
        let saved = self.tenure.guard.save(&mut tx, place).await?;
        tx.commit().await?;
        self.tenure.guard.saved(saved);
        Ok(())
    }

    /// Dead-letters a key's first record.
    async fn bury(&mut self, key: &Due, verdict: &Verdict) -> Result<(), Stopped> {
        loop {
            let moves = self.tenure.lanes().moves(&key.lane());
            let mut first = self.first(key, 1).await?;
            match self.commit(key, &mut first, Some(verdict)).await {
                Ok(end) => {
                    self.ended(key, end, moves);
                    return Ok(());
                }
                Err(Uncommitted::Kit(failure)) => self.waiting.wait_out(&failure).await?,
                Err(Uncommitted::Superseded) => return Err(self.waiting.superseded().await),
                Err(Uncommitted::Moved) => {}
                Err(Uncommitted::Handler(failure)) => {
                    let failure = crate::consumer::batch::only_failure(failure);
                    self.waiting.wait_out(&failure).await?;
                }
            }
        }
    }

    /// Reads and decodes a key's first records, without the effects of those that are finished already.
    async fn first(&mut self, key: &Due, most: usize) -> Result<First<H::Message>, Stopped> {
        let heads = loop {
            let place = self.tenure.place();
            let most_bytes = self.handling.settings.batch_max_bytes;
            match store::head(&self.handling.pool, place, key.lane(), most, most_bytes).await {
                Ok(heads) => break heads,
                Err(error) => self.waiting.wait_out(&error.into()).await?,
            }
        };
        let mut first = self.decode(heads).await?;
        let ids = first.chunk.ids();
        if ids.is_empty() {
            self.put_in_order(key, &mut first).await?;
            return Ok(first);
        }
        let group = &self.handling.settings.group;
        loop {
            match inbox::finished(&self.handling.pool, group, &ids, self.replayed).await {
                Ok(finished) => {
                    let duplicates = first.chunk.drop_finished(&finished);
                    self.left_alone(duplicates, 0);
                    self.put_in_order(key, &mut first).await?;
                    return Ok(first);
                }
                Err(error) => self.waiting.wait_out(&error.into()).await?,
            }
        }
    }

    async fn decode(&mut self, heads: Vec<Head>) -> Result<First<H::Message>, Stopped> {
        let mut first = First {
            chunk: Chunk::until(0),
            rows: Vec::with_capacity(heads.len()),
            waits: None,
        };
        let mut skipped = 0;
        for head in heads {
            let row = Row {
                seq: head.seq,
                offset: head.record.offset,
                event_id: head.event_id,
                sequence: head.sequence,
            };
            let mut record = head.record;
            let decoded = loop {
                let identity = self.handling.settings.identity;
                match decode(&self.handling.codec, record, identity).await {
                    Decoded::Away(same, failure) => {
                        record = same;
                        self.waiting.wait_out(&failure).await?;
                    }
                    decoded => break decoded,
                }
            };
            match decoded {
                Decoded::Delivery(mut delivery) => {
                    // As it was when it was parked, whatever the settings say by now.
                    delivery.event_id = EventId::from_uuid(head.event_id);
                    first.chunk.deliveries.push(delivery);
                }
                // It needs a slot of its own, and may hold its key: not for this transaction.
                Decoded::Poison(_) if !first.rows.is_empty() => break,
                Decoded::Poison(poison) => {
                    first.chunk.poison.push(poison);
                    first.rows.push(row);
                    break;
                }
                Decoded::Skipped(_) | Decoded::Away(..) => skipped += 1,
            }
            first.rows.push(row);
        }
        self.waiting.outage_over();
        let repeated = first.chunk.drop_repeated();
        self.left_alone(repeated, skipped);
        Ok(first)
    }

    async fn commit(
        &self,
        key: &Due,
        first: &mut First<H::Message>,
        verdict: Option<&Verdict>,
    ) -> Result<Option<LaneEnd>, Uncommitted> {
        let rows: Vec<i64> = first.rows.iter().map(|row| row.seq).collect();
        let attempt = Try {
            handling: &self.handling,
            tenure: &self.tenure,
            replayed: self.replayed,
            origin: Origin::Parking(key.lane(), &rows),
        };
        attempt.commit(&mut first.chunk, verdict).await
    }

    fn ended(&mut self, key: &Due, end: Option<LaneEnd>, moves: u64) {
        self.waiting.outage_over();
        if end != Some(LaneEnd::Gone) {
            return;
        }
        self.tenure.lanes().drained(&key.lane(), moves);
        self.tenure.changed(0);
        let place = self.tenure.place();
        emit(KeyReturned {
            group: place.consumer,
            topic: place.topic,
            partition: place.partition,
        });
    }

    fn left_alone(&self, duplicates: usize, skipped: usize) {
        let place = self.tenure.place();
        emit(LeftAlone {
            group: place.consumer,
            topic: place.topic,
            duplicates,
            skipped,
        });
    }
}
