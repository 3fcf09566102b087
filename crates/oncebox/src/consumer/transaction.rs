//! One transaction: ownership, inbox rows, the handler's effects, parked records, dead letters. All of it or nothing.

mod park;
mod release;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use chrono::Utc;
use futures::FutureExt;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Transaction};
use telemetry::emit;

use super::batch::Chunk;
use super::happening::{BatchCommitted, DeadLettered, LeftAlone};
use super::tenure::Tenure;
use super::trace;
use super::worker::Handling;
use crate::attempts::{self, Attempted};
use crate::dead_letter::Letter;
use crate::failure::{BatchFailure, Classify, ErrorClass, Failure};
use crate::flood::guard::Side;
use crate::handler::{BatchHandler, with_call_limit};
use crate::inbox::expiry::EXPIRED;
use crate::inbox::{self, Dying};
use crate::ownership;
use crate::parking::decide::LaneEnd;
use crate::parking::{Lane, OnDeadLetter, store};
use crate::sequence::store::{Advanced, advance};

/// How long a rollback is waited for; it happens without being waited for too.
const ROLLBACK_WAIT: Duration = Duration::from_millis(500);

/// Why a transaction did not commit.
#[derive(Debug)]
pub(super) enum Uncommitted {
    /// The kit's own statements failed: no record is to blame, so nothing is ever counted for it.
    Kit(Failure),
    /// The handler failed.
    Handler(BatchFailure),
    /// The partition is somebody else's.
    Superseded,
    /// A key's stream has moved since it was read: what has its turn is to be decided anew.
    Moved,
}

impl From<sqlx::Error> for Uncommitted {
    #[track_caller]
    fn from(error: sqlx::Error) -> Self {
        Self::Kit(error.into())
    }
}

impl From<crate::OutboxError> for Uncommitted {
    #[track_caller]
    fn from(error: crate::OutboxError) -> Self {
        Self::Kit(error.into())
    }
}

/// What is decided about the only record of a chunk instead of handling it.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is dead-lettered.
    Bury(Judged),
    /// It is parked and tried again after the delay.
    Park(Judged, Duration),
}

/// How a record failed.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) failure: Failure,
    pub(super) attempts: u32,
    pub(super) first_failed_at: chrono::DateTime<Utc>,
}

/// Where a chunk comes from, and so what else its transaction says.
pub(super) enum Origin<'a> {
    /// The topic: records may be parked, and attempts that were counted in place are forgotten.
    Topic(&'a BTreeMap<i64, Attempted>),
    /// The topic, as one record that needs no order: it is parked in a lane of its own and holds nothing.
    Alone,
    /// The parking: these of the key's records, by their numbers, are taken out.
    Parking(Lane, &'a [i64]),
}

/// One try at a chunk.
pub(super) struct Try<'a, H: BatchHandler> {
    pub(super) handling: &'a Handling<H>,
    pub(super) tenure: &'a Tenure,
    /// Whether the topic is the group's replay topic.
    pub(super) replayed: bool,
    pub(super) origin: Origin<'a>,
}

impl<H: BatchHandler> Try<'_, H> {
    /// Handles the chunk's deliveries, or does what the verdict says with its only one, and commits. For a chunk from
    /// the parking, what becomes of its key.
    ///
    /// Deliveries that turn out to be finished by somebody else are dropped from the chunk for good.
    pub(super) async fn commit(
        &self,
        chunk: &mut Chunk<H::Message>,
        verdict: Option<&Verdict>,
    ) -> Result<Option<LaneEnd>, Uncommitted> {
        let started = std::time::Instant::now();
        let handling = self.handling;
        let handle = verdict.is_none() && !chunk.deliveries.is_empty();
        if handle {
            self.prepare(chunk).await?;
        }
        let mut tx = handling
            .pool
            .begin_with(AssertSqlSafe(self.begin()))
            .await?;
        let place = self.tenure.place();
        if !ownership::check(&mut tx, place, self.tenure.epoch).await? {
            return Err(self.roll_back(tx, Uncommitted::Superseded).await);
        }
        let streams = chunk.advanced(!matches!(verdict, Some(Verdict::Park(..))));
        let mut wakes = false;
        if !streams.is_empty() {
            match advance(&mut tx, place, &streams).await? {
                Advanced::Written { woken } => wakes = woken > 0,
                Advanced::Moved => return Err(self.roll_back(tx, Uncommitted::Moved).await),
            }
        }
        let mut duplicates = 0;
        if handle {
            duplicates = self.mark_processed(&mut tx, chunk).await?;
            if !chunk.deliveries.is_empty()
                && let Err(failed) = self.handle(&mut tx, chunk).await
            {
                return Err(self.roll_back(tx, failed).await);
            }
            if self.replayed {
                release::after_replay(&mut tx, place.consumer, &chunk.deliveries).await?;
            }
        }
        let letters = self.letters(chunk, verdict);
        let buried = self.bury(&mut tx, letters).await?;
        let end = self.close(&mut tx, chunk, verdict, &buried).await?;
        let saved = self.tenure.guard.save(&mut tx, place).await?;
        tx.commit().await?;
        self.tenure.guard.saved(saved);
        let handled: &[_] = if handle { &chunk.deliveries } else { &[] };
        if self.tenure.guard.succeeded(self.side(), handled) {
            // What is parked may be tried again.
            self.tenure.parked.notify_one();
        }

        if let Some(change) = end.parked {
            self.tenure.changed(change);
        }
        if wakes {
            handling.woken.send_modify(|times| *times += 1);
        }
        emit(LeftAlone {
            group: place.consumer,
            topic: place.topic,
            duplicates,
            skipped: 0,
        });
        emit(BatchCommitted {
            group: place.consumer,
            topic: place.topic,
            handled: handled.len(),
            dead: buried.len(),
            duration: started.elapsed(),
        });
        trace::handled(place.consumer, handled, started.elapsed());
        for letter in &buried {
            emit(DeadLettered {
                group: place.consumer,
                record: letter.record,
                failure: letter.failure,
                attempts: letter.attempts,
            });
        }
        Ok(end.lane)
    }

    fn side(&self) -> Side {
        match self.origin {
            Origin::Topic(_) => Side::Topic,
            Origin::Alone => Side::Free,
            Origin::Parking(..) => Side::Parking,
        }
    }

    async fn mark_processed(
        &self,
        tx: &mut PgConnection,
        chunk: &mut Chunk<H::Message>,
    ) -> Result<usize, Uncommitted> {
        let ids = chunk
            .deliveries
            .iter()
            .map(|delivery| delivery.event_id.as_uuid());
        let ids: Vec<_> = ids.collect();
        let group = &self.handling.settings.group;
        let fresh = inbox::mark_processed(tx, group, &ids, self.replayed).await?;
        if fresh.len() < ids.len() {
            chunk
                .deliveries
                .retain(|delivery| fresh.contains(&delivery.event_id.as_uuid()));
        }
        Ok(ids.len() - fresh.len())
    }

    /// The server ends a statement that hangs too, so that a handler that was cut leaves no lock behind; and a
    /// transaction of a process that sleeps: between two statements lie the ends of two calls of a handler at most.
    fn begin(&self) -> String {
        let limit = self.handling.settings.handler_timeout.as_millis().max(1);
        let idle = limit * 2 + 5_000;
        format!(
            "begin; set local statement_timeout = {limit}; set local idle_in_transaction_session_timeout = {idle}"
        )
    }

    /// Ends a transaction whose handler failed. Where even that fails because the connection is gone, the handler's
    /// own error says nothing about the record, whatever class it gave it: this is an outage.
    async fn roll_back(
        &self,
        tx: Transaction<'static, Postgres>,
        failed: Uncommitted,
    ) -> Uncommitted {
        // A statement that was cut may go on at the server; the connection's own clean-up waits for it, this does not.
        match tokio::time::timeout(ROLLBACK_WAIT, tx.rollback()).await {
            Ok(Err(error)) if error.class() == ErrorClass::Outage => error.into(),
            _ => failed,
        }
    }

    async fn prepare(&self, chunk: &Chunk<H::Message>) -> Result<(), Uncommitted> {
        let work = self.handling.handler.prepare(&chunk.deliveries);
        self.guarded(chunk.deliveries.len(), work)
            .await
            .map_err(Uncommitted::Handler)
    }

    async fn handle(
        &self,
        tx: &mut PgConnection,
        chunk: &Chunk<H::Message>,
    ) -> Result<(), Uncommitted> {
        let work = self.handling.handler.handle(tx, &chunk.deliveries);
        self.guarded(chunk.deliveries.len(), work)
            .await
            .map_err(Uncommitted::Handler)?;
        // A handler that swallowed a database error, or ended the transaction, would make the commit below a
        // silent rollback: effects and inbox rows gone, offset advanced.
        let intact: Result<bool, _> =
            sqlx::query_scalar("select pg_current_xact_id_if_assigned() is not null")
                .fetch_one(tx)
                .await;
        let broken = match intact {
            Ok(true) => return Ok(()),
            Ok(false) => "the handler ended the transaction".to_owned(),
            Err(error @ sqlx::Error::Database(_)) => {
                format!("the handler went on after a failed statement: {error}")
            }
            Err(error) => return Err(error.into()),
        };
        Err(Uncommitted::Handler(BatchFailure::Whole(Failure::new(
            ErrorClass::Transient,
            "handler.broken_transaction",
            broken,
        ))))
    }

    /// Runs a handler's future with its time limit; a panic or a hang is a transient failure.
    async fn guarded(
        &self,
        records: usize,
        work: impl Future<Output = Result<(), BatchFailure>>,
    ) -> Result<(), BatchFailure> {
        let one = self.handling.settings.handler_timeout;
        let limit = self.handling.handler.time_limit(one, records);
        let work = with_call_limit(one, AssertUnwindSafe(work).catch_unwind());
        match tokio::time::timeout(limit, work).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(BatchFailure::Whole(Failure::panicked(panic.as_ref()))),
            Err(_) => Err(BatchFailure::Whole(Failure::timed_out(limit))),
        }
    }

    /// Everything of the chunk that is given up, in the order of the topic.
    fn letters<'c>(
        &self,
        chunk: &'c Chunk<H::Message>,
        verdict: Option<&'c Verdict>,
    ) -> Vec<Letter<'c>> {
        let now = Utc::now();
        let poison = chunk.poison.iter().map(|poison| Letter {
            record: &poison.record,
            event_id: poison.event_id,
            failure: &poison.failure,
            attempts: 1,
            first_failed_at: now,
        });
        let judged = match verdict {
            Some(Verdict::Bury(judged)) => Some(judged),
            _ => None,
        };
        let judged = judged.into_iter().flat_map(|judged| {
            chunk.deliveries.iter().map(|delivery| Letter {
                record: &delivery.record,
                event_id: delivery.event_id.as_uuid(),
                failure: &judged.failure,
                attempts: judged.attempts,
                first_failed_at: judged.first_failed_at,
            })
        });
        let mut letters: Vec<_> = poison.chain(judged).collect();
        letters.sort_by_key(|letter| letter.record.offset);
        letters
    }

    /// Marks events as dead and writes their letters; returns those that were written.
    async fn bury<'c>(
        &self,
        tx: &mut PgConnection,
        mut letters: Vec<Letter<'c>>,
    ) -> Result<Vec<Letter<'c>>, Uncommitted> {
        if letters.is_empty() {
            return Ok(letters);
        }
        let group = &self.handling.settings.group;
        let dying: Vec<Dying> = letters
            .iter()
            .map(|letter| Dying {
                event_id: letter.event_id,
                attempts: letter.attempts,
                first_failed_at: letter.first_failed_at,
            })
            .collect();
        let due = inbox::mark_dead(tx, group, &dying, self.replayed).await?;
        letters.retain_mut(|letter| match due.get(&letter.event_id) {
            Some(first) => {
                letter.first_failed_at = *first;
                true
            }
            None => false,
        });
        let refused: Vec<_> = letters
            .iter()
            .filter(|letter| letter.failure.code == EXPIRED)
            .map(|letter| letter.event_id)
            .collect();
        if !refused.is_empty() {
            inbox::mark_refused(tx, group, &refused).await?;
        }
        let mut batch = self.handling.outbox.batch();
        let now = Utc::now();
        for letter in &letters {
            batch.push_raw(letter.row(group, &self.handling.version, now))?;
        }
        batch.insert(tx).await?;
        Ok(letters)
    }

    /// What the transaction says about the parking and the attempts, by where the chunk comes from.
    async fn close(
        &self,
        tx: &mut PgConnection,
        chunk: &Chunk<H::Message>,
        verdict: Option<&Verdict>,
        buried: &[Letter<'_>],
    ) -> Result<Closed, Uncommitted> {
        let place = self.tenure.place();
        let policy = if self.replayed {
            OnDeadLetter::Continue
        } else {
            self.handling.settings.on_dead_letter
        };
        match self.origin {
            Origin::Topic(attempted) => {
                let parked = park::park(tx, place, chunk, verdict, buried, policy).await?;
                let offsets: Vec<i64> = attempted.range(..chunk.end).map(|(at, _)| *at).collect();
                attempts::forget(tx, place, &offsets).await?;
                Ok(Closed { parked, lane: None })
            }
            Origin::Alone => {
                let policy = OnDeadLetter::Continue;
                let parked = park::park(tx, place, chunk, verdict, buried, policy).await?;
                Ok(Closed { parked, lane: None })
            }
            Origin::Parking(lane, rows) => {
                // A record without key, or that needs no order, holds nothing: its lane is its own.
                let last = buried.last();
                let last = last.filter(|letter| lane != Lane::alone(letter.record));
                let last = last.map(|letter| letter.event_id);
                let (end, removed) =
                    store::finish_head(tx, place, lane, rows, last, policy).await?;
                let removed = i64::try_from(removed).unwrap_or(i64::MAX);
                Ok(Closed {
                    parked: Some(-removed),
                    lane: Some(end),
                })
            }
        }
    }
}

/// What closing a transaction did.
struct Closed {
    /// By how much the number of parked records changed.
    parked: Option<i64>,
    lane: Option<LaneEnd>,
}
