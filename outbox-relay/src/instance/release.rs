//! Publishing parked rows: refused ones again after a pause, rows behind them when those are out, delayed ones in time.
//!
//! Exactly once as everything else: the Kafka transaction that publishes them writes their `seq`s into the cursor, and
//! whoever reads that cursor back forgets them before it looks at what is parked.

use std::collections::HashSet;
use std::sync::Arc;

use super::lot::Lot;
use super::work::{Work, publish};
use super::{End, Instance, SLOW_BROKER, told_when_slow};
use crate::cursor::Cursor;
use crate::failpoint::{self, Point};
use crate::happening::Released;
use crate::parking::Parking;
use crate::publish::{PublishError, Publisher, Refused};
use crate::source::{Due, Row, Source};
use crate::trace;

impl<S: Source> Instance<S> {
    /// One round: looks what may be published, publishes it, forgets it.
    pub(super) async fn release(
        &mut self,
        publisher: &Arc<Publisher>,
        cursor: &mut Cursor,
        work: &mut Work,
    ) -> Result<(), End> {
        // What was published before is forgotten before anything else is.
        if !self.forget(cursor, &mut work.lot).await? {
            return Ok(());
        }
        let Some(due) = self.due(cursor, &mut work.lot).await? else {
            return Ok(());
        };
        if due.rows.is_empty() {
            work.lot.look_after(&due);
            return Ok(());
        }
        let rows = Arc::new(due.rows);
        let released = rows.iter().map(|row| row.seq).collect();
        let next = cursor.releasing(released);
        let publishing = publish(Arc::clone(publisher), Arc::clone(&rows), next.clone());
        match told_when_slow(&self.name, &self.shared, SLOW_BROKER, publishing).await {
            Ok(took) => {
                *cursor = next;
                for row in rows.iter().filter(|row| !due.delayed.contains(&row.seq)) {
                    work.lot.parking.released(row);
                }
                self.published(cursor, rows.len(), took);
                trace::published(&self.name, &rows, took);
                telemetry::emit(Released {
                    source: &self.name,
                    shard: self.shared.shard(),
                    rows: rows.len(),
                });
                self.running(cursor);
                work.away.reset();
                work.lot.with_waiting = true;
                failpoint::hit(Point::ForgetBefore);
                self.forget(cursor, &mut work.lot).await?;
                failpoint::hit(Point::ForgetAfter);
                work.lot.look_now();
                Ok(())
            }
            Err(PublishError::Refused(refused)) => {
                self.refused_again(&refused, &rows, &due.delayed, &mut work.lot)
                    .await
            }
            Err(error) => self.failed(&error, cursor, work).await,
        }
    }

    /// Forgets what the cursor says is published; false when the database is away.
    pub(super) async fn forget(&mut self, cursor: &mut Cursor, lot: &mut Lot) -> Result<bool, End> {
        if cursor.released.is_empty() {
            return Ok(true);
        }
        match self.source.released(&cursor.released).await {
            Ok(()) => {
                cursor.released.clear();
                Ok(true)
            }
            Err(error) => {
                lot.look_later();
                self.trouble(error)?;
                Ok(false)
            }
        }
    }

    /// What may be published; nothing when the database is away.
    async fn due(&mut self, cursor: &Cursor, lot: &mut Lot) -> Result<Option<Due>, End> {
        let limits = self.settings.limits();
        let due = match self.source.due(limits, lot.with_waiting).await {
            Ok(due) => due,
            Err(error) => return self.not_looked(error, lot),
        };
        if !lot.was_changed(&due) {
            return Ok(Some(due));
        }
        // An operator decided about rows: what blocks is read anew, and so is what is free.
        match self.source.parked(cursor).await {
            Ok(parked) => lot.reload(parked),
            Err(error) => return self.not_looked(error, lot),
        }
        match self.source.due(limits, true).await {
            Ok(due) => Ok(Some(due)),
            Err(error) => self.not_looked(error, lot),
        }
    }

    /// Rows that are refused again wait for longer; the others of the round go in the next.
    async fn refused_again(
        &mut self,
        refused: &[Refused],
        rows: &[Row],
        delayed: &HashSet<i64>,
        lot: &mut Lot,
    ) -> Result<(), End> {
        let parks = Parking::refused(refused, rows, |topic| self.settings.skips(topic));
        let pause = self.settings.refused_retry();
        if let Err(error) = self.source.refused_again(&parks, pause).await {
            return self.not_looked::<()>(error, lot).map(|_| ());
        }
        for park in &parks {
            lot.parking.refused_again(park, delayed.contains(&park.seq));
        }
        lot.look_now();
        Ok(())
    }
}
