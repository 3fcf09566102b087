//! How the last records went, each record once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// For how long the successes of one commit speak for failures.
const CREDIT_LASTS: Duration = Duration::from_secs(1);

/// The last records that succeeded or failed, by offset, the newest last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Recent {
    records: VecDeque<(i64, Went)>,
    /// Two of the parked records that have failed again since a record succeeded: enough to know that another one has.
    again: Vec<i64>,
    credit: Option<Credit>,
}

/// How a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Went {
    Well,
    Wrong,
}

/// A batch commits what succeeds of it at once, and what fails of it comes after that, one by one: five in a row, which
/// may be five of five hundred. So what a commit has beyond the records that are remembered counts too.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Credit {
    successes: usize,
    until: Instant,
}

impl Recent {
    /// Notes how a record went; what was known of it before counts no more. At most `most` records are remembered.
    pub(crate) fn note(&mut self, offset: i64, went: Went, most: usize) {
        if went == Went::Well {
            self.again.clear();
        }
        self.records.retain(|(known, _)| *known != offset);
        self.records.push_back((offset, went));
        while self.records.len() > most.max(1) {
            self.records.pop_front();
        }
    }

    /// Notes that a record failed again that is parked because it had failed. Many do so within a moment, and it says
    /// nothing new: it is neither counted among the last records nor does it push one of them out.
    pub(crate) fn failed_again(&mut self, offset: i64) {
        if self.again.len() < 2 && !self.again.contains(&offset) {
            self.again.push(offset);
        }
    }

    /// Notes how many records one commit handled; at most `most` are remembered.
    pub(crate) fn committed(&mut self, now: Instant, records: usize, most: usize) {
        let successes = records.saturating_sub(most);
        let left = self.left(now);
        if successes > left {
            self.credit = Some(Credit {
                successes,
                until: now + CREDIT_LASTS,
            });
        }
    }

    /// Whether a failure is one in so many records that a commit has just handled; they speak for no other then.
    pub(crate) fn is_spoken_for(&mut self, now: Instant, records: usize) -> bool {
        let left = self.left(now);
        let Some(credit) = &mut self.credit else {
            return false;
        };
        credit.successes = left.saturating_sub(records);
        left >= records
    }

    fn left(&self, now: Instant) -> usize {
        let credit = self.credit.as_ref();
        credit.map_or(0, |credit| {
            if now < credit.until {
                credit.successes
            } else {
                0
            }
        })
    }

    pub(crate) fn failing(&self) -> usize {
        let wrong = self.records.iter().filter(|(_, went)| *went == Went::Wrong);
        wrong.count()
    }

    /// Whether others have failed too since a record succeeded last. Those that were given up count as well.
    pub(crate) fn others_fail(&self, offset: i64) -> bool {
        let since = self.records.iter().rev();
        let since = since.take_while(|(_, went)| *went != Went::Well);
        let since = since.map(|(failing, _)| failing);
        since.chain(&self.again).any(|failing| *failing != offset)
    }

    pub(crate) fn forget(&mut self) {
        self.records.clear();
        self.again.clear();
        self.credit = None;
    }
}
