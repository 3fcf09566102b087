//! The parking lot of a tenure: what is parked, and when to look whether something of it may be published.

use std::time::{Duration, Instant};

use super::Instance;
use crate::cursor::Cursor;
use crate::parking::{Parked, Parking};
use crate::source::{Due, Source, SourceError};

/// While something is parked it is looked at this often at least, and while nothing is known to be.
const WITH_ROWS: Duration = Duration::from_secs(1);
const WITHOUT_ROWS: Duration = Duration::from_secs(5);

/// What is parked, and when to look at it.
#[derive(Clone)]
pub(crate) struct Lot {
    pub(super) parking: Parking,
    /// False where the database has no parking table: then a refused row holds its source.
    pub(super) usable: bool,
    /// Whether rows that waited may have become free.
    pub(super) with_waiting: bool,
    look_at: Instant,
    audit: Option<i64>,
}

impl Lot {
    fn of(parked: Option<Parked>) -> Self {
        Self {
            usable: parked.is_some(),
            parking: Parking::of(parked.unwrap_or_default()),
            with_waiting: true,
            look_at: Instant::now(),
            audit: None,
        }
    }

    /// Whether it is time to look, and looking makes sense: a row that the cursor has not passed is not released, so
    /// that whoever finds it in the outbox again also finds that it is parked.
    pub(super) fn is_due(&self) -> bool {
        self.usable && self.parking.is_passed() && Instant::now() >= self.look_at
    }

    /// Until the next look.
    pub(super) fn pause(&self) -> Duration {
        self.look_at.saturating_duration_since(Instant::now())
    }

    pub(super) fn look_now(&mut self) {
        self.look_at = Instant::now();
    }

    pub(super) fn look_within(&mut self, pause: Duration) {
        self.look_at = self.look_at.min(Instant::now() + pause);
    }

    /// After a look that found nothing to publish.
    pub(super) fn look_after(&mut self, due: &Due) {
        let usual = if self.parking.rows() > 0 {
            WITH_ROWS
        } else {
            WITHOUT_ROWS
        };
        self.with_waiting = false;
        self.look_at = Instant::now() + due.next.unwrap_or(usual).min(usual);
    }

    /// After a look that failed.
    pub(super) fn look_later(&mut self) {
        self.look_at = Instant::now() + WITH_ROWS;
    }

    /// Whether an operator has changed something since the last look.
    pub(super) fn was_changed(&mut self, due: &Due) -> bool {
        self.audit.replace(due.audit) != Some(due.audit)
    }

    /// Takes over what the table says now.
    pub(super) fn reload(&mut self, parked: Parked) {
        self.parking = Parking::of(parked);
        self.with_waiting = true;
    }
}

impl<S: Source> Instance<S> {
    /// Opens the lot of a tenure. Rows that the predecessor published and did not come to forget are forgotten first.
    pub(super) async fn open_lot(
        &mut self,
        mut cursor: Cursor,
    ) -> Result<(Cursor, Lot), SourceError> {
        if !cursor.released.is_empty() {
            self.source.released(&cursor.released).await?;
            cursor.released.clear();
        }
        let parked = match self.source.claim(cursor.writer).await {
            Ok(()) => self.source.parked(&cursor).await,
            Err(error) => Err(error),
        };
        match parked {
            Ok(parked) => Ok((cursor, Lot::of(Some(parked)))),
            Err(error) if error.is_absent() => {
                tracing::debug!(source = self.name, %error, "no parking table");
                Ok((cursor, Lot::of(None)))
            }
            Err(error) => Err(error),
        }
    }
}
