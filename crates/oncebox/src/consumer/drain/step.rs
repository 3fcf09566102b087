//! One step with a parked key: its first record tried again, or as many of its records as go through together.

use chrono::Utc;
use sqlx::AssertSqlSafe;
use telemetry::emit;

use super::Drain;
use crate::consumer::batch::{Chunk, Decoded, decode, to_blame, whole_outage};
use crate::consumer::happening::{KeyReturned, LeftAlone, RetryScheduled};
use crate::consumer::transaction::{Judged, Origin, Try, Uncommitted, Verdict};
use crate::consumer::waiting::Stopped;
use crate::event::EventId;
use crate::failure::{ErrorClass, Failure};
use crate::handler::BatchHandler;
use crate::inbox;
use crate::ownership;
use crate::parking::OnDeadLetter;
use crate::parking::decide::{LaneEnd, Next, after_failure};
use crate::parking::store::{self, Due, Head};

/// Most parked records of one key in one transaction.
const TOGETHER: usize = 200;

/// The first records of a key, decoded.
struct First<M> {
    chunk: Chunk<M>,
    /// Each record's number in the parking and its offset, in order.
    rows: Vec<(i64, i64)>,
}

impl<H: BatchHandler> Drain<H> {
    /// Tries until something is committed: progress, or one more failed attempt.
    pub(super) async fn attend(&mut self, key: Due) -> Result<(), Stopped> {
        // One that failed before goes alone, as do those whose order an operator gave.
        let alone = key.attempts() > 0 || key.doomed.is_some();
        let most = self.handling.settings.batch_max_records.clamp(1, TOGETHER);
        let mut most = if alone { 1 } else { most };
        loop {
            self.waiting.go_on()?;
            let moves = self.tenure.lanes().moves(&key.lane());
            let mut first = self.first(&key, most).await?;
            let known = self.known_failure(&key, &first);
            if let Some(failure) = known {
                return self.failed(&key, &first, failure).await;
            }
            match self.commit(&key, &mut first, None).await {
                Ok(end) => {
                    self.ended(&key, end, moves);
                    return Ok(());
                }
                Err(Uncommitted::Kit(failure)) => self.waiting.wait_out(&failure).await?,
                Err(Uncommitted::Superseded) => return Err(self.waiting.superseded().await),
                Err(Uncommitted::Handler(failure)) => {
                    if let Some(failure) = whole_outage(&failure) {
                        self.waiting.wait_out(failure).await?;
                        continue;
                    }
                    let deliveries = &first.chunk.deliveries;
                    let Some((index, failure)) = to_blame(failure, deliveries.len()) else {
                        // Nobody knows which record it was: fewer, down to one.
                        most = (first.rows.len() / 2).max(1);
                        continue;
                    };
                    if failure.class == ErrorClass::Outage {
                        self.waiting.wait_out(&failure).await?;
                        continue;
                    }
                    let offset = deliveries.get(index).map(|delivery| delivery.record.offset);
                    let before = first.rows.iter().position(|(_, row)| Some(*row) == offset);
                    match before {
                        Some(before) if before > 0 => {
                            self.blame = first.rows.get(before).map(|(seq, _)| (*seq, failure));
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
        let (seq, _) = first.rows.first()?;
        let delivery = first.chunk.deliveries.first()?;
        if key.doomed == Some(delivery.event_id.as_uuid()) {
            return Some(store::doomed_failure(key));
        }
        self.blame
            .take_if(|(blamed, _)| blamed == seq)
            .map(|(_, failure)| failure)
    }

    /// One more failed attempt of a key's first record: it waits again, or is given up.
    async fn failed(
        &mut self,
        key: &Due,
        first: &First<H::Message>,
        failure: Failure,
    ) -> Result<(), Stopped> {
        self.waiting.outage_over();
        let attempts = match key.doomed {
            Some(_) if failure.code == store::GIVEN_UP => key.attempts().max(1),
            _ => key.attempts() + 1,
        };
        let policy = &self.handling.settings.retry;
        let delay = match after_failure(policy, failure.class, attempts, true) {
            Next::Park(delay) => delay,
            Next::Again => policy.delay_after(1),
            Next::Bury => {
                let first_failed_at = key.first_failed_at.unwrap_or_else(Utc::now);
                let verdict = Verdict::Bury(Judged {
                    failure,
                    attempts,
                    first_failed_at,
                });
                return self.bury(key, &verdict).await;
            }
        };
        loop {
            match self.note_attempt(key, &failure, attempts, delay).await {
                Ok(()) => break,
                Err(Uncommitted::Superseded) => return Err(self.waiting.superseded().await),
                Err(Uncommitted::Kit(failure)) => self.waiting.wait_out(&failure).await?,
                Err(Uncommitted::Handler(_)) => {}
            }
        }
        self.waiting.outage_over();
        if let Some(delivery) = first.chunk.deliveries.first() {
            emit(RetryScheduled {
                group: &self.handling.settings.group,
                record: &delivery.record,
                failure: &failure,
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
        delay: std::time::Duration,
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
        tx.commit().await?;
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
            return Ok(first);
        }
        let group = &self.handling.settings.group;
        loop {
            match inbox::finished(&self.handling.pool, group, &ids, self.replayed).await {
                Ok(finished) => {
                    let duplicates = first.chunk.drop_finished(&finished);
                    self.left_alone(duplicates, 0);
                    return Ok(first);
                }
                Err(error) => self.waiting.wait_out(&error.into()).await?,
            }
        }
    }

    async fn decode(&mut self, heads: Vec<Head>) -> Result<First<H::Message>, Stopped> {
        let holds = !self.replayed && self.handling.settings.on_dead_letter == OnDeadLetter::Hold;
        let mut first = First {
            chunk: Chunk::until(0),
            rows: Vec::with_capacity(heads.len()),
        };
        let mut skipped = 0;
        for head in heads {
            let (row, mut record) = ((head.seq, head.record.offset), head.record);
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
                // What comes behind a dead letter that holds its key is not for this transaction.
                Decoded::Poison(_) if holds && !first.rows.is_empty() => break,
                Decoded::Poison(poison) => {
                    first.chunk.poison.push(poison);
                    first.rows.push(row);
                    if holds {
                        break;
                    }
                    continue;
                }
                Decoded::Skipped | Decoded::Away(..) => skipped += 1,
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
        let last = first.rows.last().map_or(0, |(seq, _)| *seq);
        let attempt = Try {
            handling: &self.handling,
            tenure: &self.tenure,
            replayed: self.replayed,
            origin: Origin::Parking(key.lane(), last),
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
