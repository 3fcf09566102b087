//! The loop of a tenure: read a batch, park what must not be published, publish the rest while the next is read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lot::Lot;
use super::{End, Instance, SLOW_BROKER, SLOW_DATABASE, told_when_slow, unreadable};
use crate::cursor::{Cursor, Snapshot};
use crate::failpoint::{self, Point};
use crate::happening::{Aborted, RowRefused};
use crate::pace::{Idle, Pace};
use crate::parking::{Park, Parking, Why};
use crate::publish::{Lead, PublishError, Publisher, Refused};
use crate::source::{Batch, Limits, Row, Source, SourceError};
use crate::state::{State, Telling};
use crate::trace;

/// Rows and bytes of a transaction that counts as small: it is over before reading ahead would pay.
const SMALL_ROWS: usize = 500;
const SMALL_BYTES: usize = 200_000;

/// What a tenure keeps between two batches.
pub(super) struct Work {
    idle: Idle,
    pub(super) away: Pace,
    limits: Limits,
    ahead: Option<Batch>,
    pub(super) lot: Lot,
    /// Nothing that this snapshot does not see is to be published.
    until: Option<Snapshot>,
}

impl<S: Source> Instance<S> {
    pub(super) async fn work(
        &mut self,
        publisher: &Arc<Publisher>,
        mut cursor: Cursor,
        lot: Lot,
        until: Option<Snapshot>,
    ) -> End {
        let mut work = Work {
            idle: self.settings.idle(),
            away: Pace::away(),
            limits: self.settings.limits(),
            ahead: None,
            lot,
            until,
        };
        loop {
            if let Err(end) = self.step(publisher, &mut cursor, &mut work).await {
                return end;
            }
        }
    }

    async fn step(
        &mut self,
        publisher: &Arc<Publisher>,
        cursor: &mut Cursor,
        work: &mut Work,
    ) -> Result<(), End> {
        self.shared.put_place(Some(cursor.clone()));
        self.tell_blocked(work.lot.parking.keys());
        if self.stop.is_cancelled() {
            return Err(End::Shutdown);
        }
        if work.lot.is_due() {
            self.release(publisher, cursor, work).await?;
        }
        let batch = match work.ahead.take() {
            Some(batch) => batch,
            None => {
                let reading = read(&mut self.source, cursor, work.limits, work.until.as_ref());
                let read = told_when_slow(&self.name, &self.shared, SLOW_DATABASE, reading);
                match read.await {
                    Ok(batch) => batch,
                    Err(error) => return self.not_read(error, &mut work.away).await,
                }
            }
        };
        if batch.rows.is_empty() {
            // Nothing waits, so whatever was away is not missed any more.
            self.running(cursor);
            // The cursor moves in memory only: after a restart the older one finds the same rows.
            *cursor = cursor.moved_to(batch.next, None);
            if work.until.is_some() && !batch.more {
                return self.drained(cursor, work).await;
            }
            return if batch.more {
                Ok(())
            } else {
                let pause = work.idle.pause();
                if self.rest(pause, &mut work.lot).await? {
                    // The commit may be a few milliseconds behind.
                    work.idle.reset();
                }
                Ok(())
            };
        }
        work.idle.reset();
        self.handle(publisher, cursor, batch, work).await
    }

    /// The end, unless the database has still to forget what was released.
    async fn drained(&mut self, cursor: &mut Cursor, work: &mut Work) -> Result<(), End> {
        if self.forget(cursor, &mut work.lot).await? {
            return Err(End::Drained);
        }
        if self.sleep(work.away.pause()).await {
            Ok(())
        } else {
            Err(End::Shutdown)
        }
    }

    async fn handle(
        &mut self,
        publisher: &Arc<Publisher>,
        cursor: &mut Cursor,
        batch: Batch,
        work: &mut Work,
    ) -> Result<(), End> {
        let last_seq = batch.rows.iter().map(|row| row.seq).max();
        let split = work.lot.parking.divide(batch.rows);
        if !split.park.is_empty() && !self.park(&split.park, cursor, work).await? {
            return Ok(());
        }
        let (rows, next) = (
            Arc::new(split.publish),
            cursor.moved_to(batch.next, last_seq),
        );
        let publishing = publish(Arc::clone(publisher), Arc::clone(&rows), next.clone());
        let publishing = told_when_slow(&self.name, &self.shared, SLOW_BROKER, publishing);
        let (published, ahead) = if is_small(&rows) {
            // What arrives while it is published is to be in the next, so that is read afterwards.
            (publishing.await, None)
        } else {
            let reading = read(
                &mut self.source,
                &next,
                self.settings.limits(),
                work.until.as_ref(),
            );
            let (published, ahead) = tokio::join!(publishing, reading);
            (published, ahead.ok())
        };
        match published {
            Ok(took) => {
                *cursor = next;
                work.lot.parking.passed();
                self.published(cursor, rows.len(), took);
                trace::published(&self.name, &rows, took);
                self.running(cursor);
                work.away.reset();
                work.limits = self.settings.limits();
                // Nothing found is old news by now, and a failure shows again when it is asked again.
                work.ahead = ahead.filter(|ahead| !ahead.rows.is_empty());
                Ok(())
            }
            // From the unchanged cursor again; what was read ahead assumed otherwise.
            Err(PublishError::Refused(refused)) => {
                self.refused(&refused, &rows, cursor, work).await
            }
            Err(error) => self.failed(&error, cursor, work).await,
        }
    }

    /// Parks rows before the cursor passes them; false when that is not possible now.
    async fn park(
        &mut self,
        parks: &[Park],
        cursor: &Cursor,
        work: &mut Work,
    ) -> Result<bool, End> {
        let rows = work.lot.parking.rows();
        let more = parks.iter().filter(|park| park.blocks()).count();
        let more = i64::try_from(more).unwrap_or(i64::MAX);
        let most = i64::from(self.settings.parked_max);
        // Not in the middle of a batch: rows of it are parked already and are released only when the cursor has passed.
        let between = work.lot.parking.is_passed();
        if between && rows > 0 && more > 0 && rows.saturating_add(more) > most {
            let text = format!(
                "{rows} rows are parked behind refused ones, and parked_max is {most}: nothing is published until some are released"
            );
            self.hold(&text, work).await?;
            return Ok(false);
        }
        let pause = self.settings.refused_retry();
        failpoint::hit(Point::ParkBefore);
        if let Err(error) = self.source.park(parks, pause, cursor.writer).await {
            if matches!(error, SourceError::Ousted) {
                return Err(self.seat.refused(cursor.writer, &error.to_string()).await);
            }
            self.not_read(error, &mut work.away).await?;
            return Ok(false);
        }
        failpoint::hit(Point::ParkAfter);
        work.lot.parking.parked(parks);
        // A delayed row may be due at once; a refused one is not before its pause is over.
        let soon = parks.iter().any(|park| park.why == Why::Delayed);
        work.lot
            .look_within(if soon { Duration::ZERO } else { pause });
        Ok(true)
    }

    /// Parks what the broker refuses. The batch is read again, without those rows and with the later rows of their keys
    /// parked behind them.
    async fn refused(
        &mut self,
        refused: &[Refused],
        rows: &[Row],
        cursor: &Cursor,
        work: &mut Work,
    ) -> Result<(), End> {
        if !work.lot.usable {
            return self.hold_refused(refused, rows, work).await;
        }
        let parks = Parking::refused(refused, rows, |topic| self.settings.skips(topic));
        if self.park(&parks, cursor, work).await?
            && let Some(first) = refused.first()
        {
            telemetry::emit(RowRefused {
                source: &self.name,
                shard: self.shared.shard(),
                error: &first.to_string(),
                rows: refused.len(),
                skipped: self.settings.skips(&first.topic),
            });
        }
        Ok(())
    }

    /// Without a parking table: rows before a refused one are published; the row itself and all behind it wait.
    async fn hold_refused(
        &mut self,
        refused: &[Refused],
        rows: &[Row],
        work: &mut Work,
    ) -> Result<(), End> {
        let Some(first) = refused.first() else {
            return Ok(());
        };
        let before = rows.iter().take_while(|row| row.seq != first.seq).count();
        work.limits.rows = i64::try_from(before.max(1)).unwrap_or(i64::MAX);
        if before > 0 {
            return Ok(());
        }
        let text = format!(
            "{first}; the database has no table oncebox.relay_parked to let other keys go on: start the service's newer version, or run its migrate command"
        );
        self.hold(&text, work).await
    }

    async fn hold(&mut self, text: &str, work: &mut Work) -> Result<(), End> {
        if self.shared.enter(State::Refused(text.to_owned())) != Telling::Known {
            telemetry::emit(RowRefused {
                source: &self.name,
                shard: self.shared.shard(),
                error: text,
                rows: 1,
                skipped: false,
            });
        }
        let pause = self.settings.refused_retry();
        self.rest(pause, &mut work.lot).await.map(|_| ())
    }

    /// After a transaction that failed for no row's fault; from the unchanged cursor again, unless the tenure is over.
    pub(super) async fn failed(
        &mut self,
        error: &PublishError,
        cursor: &Cursor,
        work: &mut Work,
    ) -> Result<(), End> {
        let text = error.to_string();
        match error.lead() {
            // Fencing shows itself as a used-up producer too, when a record meets it before a call does: not to ask who
            // has the source would oust the relay that took over.
            Lead::Fenced | Lead::NewProducer => Err(self.seat.refused(cursor.writer, &text).await),
            Lead::Abort | Lead::Refused => {
                let telling = self.shared.enter(State::Waiting(text.clone()));
                telemetry::emit(Aborted {
                    source: &self.name,
                    shard: self.shared.shard(),
                    error: &text,
                    telling,
                });
                if self.sleep(work.away.pause()).await {
                    Ok(())
                } else {
                    Err(End::Shutdown)
                }
            }
        }
    }

    /// After the database did not answer.
    async fn not_read(&mut self, error: SourceError, away: &mut Pace) -> Result<(), End> {
        self.trouble(error)?;
        if self.sleep(away.pause()).await {
            Ok(())
        } else {
            Err(End::Shutdown)
        }
    }

    /// After a look at the parked rows failed: reading goes on, and meets the same trouble if it is the database's.
    pub(super) fn not_looked<T>(
        &self,
        error: SourceError,
        lot: &mut Lot,
    ) -> Result<Option<T>, End> {
        lot.look_later();
        if error.is_absent() {
            lot.usable = false;
            return Ok(None);
        }
        self.trouble(error).map(|()| None)
    }

    /// Tells an outage of the database, unless the tenure is over.
    pub(super) fn trouble(&self, error: SourceError) -> Result<(), End> {
        match unreadable(error) {
            Ok(end) => Err(end),
            Err(reason) => {
                self.away(&reason);
                Ok(())
            }
        }
    }

    /// Sleeps until the pause is over, parked rows have to be looked at, an operator did something, or somebody wrote
    /// something; says whether it was the last.
    async fn rest(&self, pause: Duration, lot: &mut Lot) -> Result<bool, End> {
        let pause = if lot.usable && lot.parking.is_passed() {
            pause.min(lot.pause())
        } else {
            pause
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.shared.poke.notified() => lot.look_now(),
            () = self.shared.wake.notified() => return Ok(true),
            () = self.stop.cancelled() => return Err(End::Shutdown),
        }
        Ok(false)
    }
}

fn is_small(rows: &[Row]) -> bool {
    rows.len() < SMALL_ROWS && rows.iter().map(Row::size_bytes).sum::<usize>() < SMALL_BYTES
}

/// Reads the next batch.
async fn read(
    source: &mut impl Source,
    cursor: &Cursor,
    limits: Limits,
    until: Option<&Snapshot>,
) -> Result<Batch, SourceError> {
    failpoint::hit(Point::ReadBefore);
    let batch = source.read(cursor, limits, until).await?;
    if !batch.rows.is_empty() {
        failpoint::hit(Point::ReadAfter);
    }
    Ok(batch)
}

/// Publishes rows and the cursor after them off the async runtime; returns how long it took.
pub(crate) async fn publish(
    publisher: Arc<Publisher>,
    rows: Arc<Vec<Row>>,
    next: Cursor,
) -> Result<Duration, PublishError> {
    let started = Instant::now();
    let published = tokio::task::spawn_blocking(move || publisher.publish(&rows, &next)).await;
    // A panic in there leaves the producer in a state that nobody knows.
    published.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    Ok(started.elapsed())
}
