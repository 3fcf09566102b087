//! A moment between two small transactions.
//!
//! A broker answers a commit before it has written the commit's markers into every partition. A transaction that comes in
//! between is turned away, and librdkafka asks again after 20 ms, whatever it would have taken. Rows that arrive in a
//! moment of two milliseconds are published together at its end, and sooner than after those twenty.

use std::time::{Duration, Instant};

use crate::source::Row;

/// Rows and bytes of a transaction that counts as small. A larger one takes long enough by itself.
const SMALL_ROWS: usize = 500;
const SMALL_BYTES: usize = 200_000;
/// A small transaction that takes this long was turned away.
const TURNED_AWAY: Duration = Duration::from_millis(18);

const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(6);
const LONGER: Duration = Duration::from_millis(1);
/// Fifty good transactions undo one that was turned away.
const SHORTER: Duration = Duration::from_micros(20);

/// How long to wait, by what the last transactions took.
#[derive(Debug)]
pub(super) struct Breath {
    length: Duration,
    until: Option<Instant>,
}

impl Breath {
    pub(super) fn new() -> Self {
        Self {
            length: 2 * SHORTEST,
            until: None,
        }
    }

    pub(super) fn is_small(rows: &[Row]) -> bool {
        rows.len() < SMALL_ROWS && rows.iter().map(Row::size_bytes).sum::<usize>() < SMALL_BYTES
    }

    /// After a transaction that took so long.
    pub(super) fn published(&mut self, small: bool, took: Duration) {
        if !small {
            self.until = None;
            return;
        }
        self.length = if took > TURNED_AWAY {
            (self.length + LONGER).min(LONGEST)
        } else {
            self.length.saturating_sub(SHORTER).max(SHORTEST)
        };
        self.until = Some(Instant::now() + self.length);
    }

    /// What is left of the moment; none when it is over. Asked once.
    pub(super) fn rest(&mut self) -> Option<Duration> {
        let rest = self.until.take()?.checked_duration_since(Instant::now())?;
        (!rest.is_zero()).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moment_grows_where_transactions_are_turned_away_and_shrinks_where_not() {
        let ms = Duration::from_millis;
        let mut breath = Breath::new();
        for _ in 0..10 {
            breath.published(true, ms(25));
        }
        assert_eq!(breath.length, LONGEST);
        assert!(breath.rest().is_some());
        assert!(breath.rest().is_none(), "asked once");
        for _ in 0..1000 {
            breath.published(true, ms(3));
        }
        assert_eq!(breath.length, SHORTEST);
        breath.published(false, ms(100));
        assert!(breath.rest().is_none(), "a large one needs none");
    }
}
