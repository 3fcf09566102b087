//! The guard of one partition: who may try a record now, and what a failure leads to. Decisions only, no effects.

use std::time::{Duration, Instant};

use super::FloodPolicy;
use super::bucket::Bucket;
use super::recent::{Recent, Went};
use crate::failure::{ErrorClass, Failure};
use crate::retry::RetryPolicy;

/// Between writes while nothing but successes happens.
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// How much longer the side waits that has probed last, so that all take turns.
const TURN: Duration = Duration::from_millis(100);
/// How long to wait while another side probes.
const PROBING: Duration = Duration::from_millis(250);

/// Those that work for a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Topic,
    /// Records of the topic that need no order.
    Free,
    Parking,
}

/// Whether records may be tried now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    Go,
    /// These are too many for a probe.
    OneOnly,
    /// This record is the probe.
    Probe,
    /// Not yet.
    Wait(Duration),
}

/// What is to be done with a record that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// The attempt counts; the retry policy goes on.
    Count,
    /// It is dead-lettered; its slot is taken.
    Bury,
    /// It waits in the parking, and no attempt is counted.
    PutOff,
    /// It stays where it is until it may be tried again.
    Stay,
}

/// That the guard closed or opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Closed,
    Opened { lasted: Duration },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Closed {
    since: Instant,
    /// Code of the failure that closed it.
    code: String,
    next_probe: Instant,
    probing: Option<Side>,
    last: Option<Side>,
}

/// What is kept in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) revision: i64,
    pub(crate) window_left: Duration,
    pub(crate) successes: u64,
    pub(crate) spent: u64,
    /// For how long it has been closed, and why.
    pub(crate) closed: Option<(Duration, String)>,
    pub(crate) calm_in: Option<Duration>,
}

#[derive(Debug, Clone)]
pub(crate) struct Guard {
    policy: FloodPolicy,
    pub(super) probes: RetryPolicy,
    bucket: Bucket,
    recent: Recent,
    closed: Option<Closed>,
    calm_from: Option<Instant>,
    /// Probes that failed since it was calm last.
    failed_probes: u32,
    revision: i64,
    /// Something must be written with the next transaction.
    unsaved: bool,
    earned: bool,
    saved_at: Instant,
}

impl Guard {
    pub(crate) fn new(policy: FloodPolicy, kept: Option<Kept>, now: Instant) -> Self {
        let mut guard = Self {
            policy,
            probes: RetryPolicy {
                retries: u32::MAX,
                quick_retries: 0,
                first_delay_ms: policy.first_probe_ms,
                factor: 2.0,
                max_delay_ms: policy.max_probe_ms,
                jitter: 0.3,
            },
            bucket: Bucket::new(&policy, now),
            recent: Recent::default(),
            closed: None,
            calm_from: None,
            failed_probes: 0,
            revision: 0,
            unsaved: false,
            earned: false,
            saved_at: now,
        };
        let Some(kept) = kept else { return guard };
        guard.revision = kept.revision;
        if !kept.window_left.is_zero() {
            let (left, successes, spent) = (kept.window_left, kept.successes, kept.spent);
            guard.bucket = Bucket::resume(&policy, now, left, successes, spent);
        }
        guard.calm_from = kept.calm_in.map(|time| now + time);
        // An owner that begins asks at once whether it is over.
        guard.closed = kept.closed.map(|(time, code)| Closed {
            since: now.checked_sub(time).unwrap_or(now),
            code,
            next_probe: now,
            probing: None,
            last: None,
        });
        guard
    }

    /// Why it is closed, while it is.
    pub(crate) fn closed_for(&self) -> Option<&str> {
        self.closed.as_ref().map(|closed| closed.code.as_str())
    }

    pub(crate) fn slots(&mut self, now: Instant) -> u64 {
        self.bucket.slots(&self.policy, now)
    }

    pub(crate) fn permit(&mut self, now: Instant, side: Side, records: usize) -> Permit {
        let Some(closed) = &mut self.closed else {
            return Permit::Go;
        };
        if records > 1 {
            return Permit::OneOnly;
        }
        match closed.probing {
            // Its last probe came to no end that says anything.
            Some(probing) if probing == side => return Permit::Probe,
            Some(_) => return Permit::Wait(PROBING),
            None => {}
        }
        let turn = if closed.last == Some(side) {
            TURN
        } else {
            Duration::ZERO
        };
        let wait = (closed.next_probe + turn).saturating_duration_since(now);
        if !wait.is_zero() {
            return Permit::Wait(wait);
        }
        closed.probing = Some(side);
        closed.last = Some(side);
        Permit::Probe
    }

    /// A try ended without a word about the records: they were somebody else's, or finished already.
    pub(crate) fn inconclusive(&mut self, side: Side) {
        if let Some(closed) = &mut self.closed
            && closed.probing == Some(side)
        {
            closed.probing = None;
        }
    }

    /// These records were handled, and that is committed.
    pub(crate) fn succeeded(
        &mut self,
        now: Instant,
        records: usize,
        offsets: impl DoubleEndedIterator<Item = i64>,
    ) -> Option<Change> {
        if records == 0 {
            return None;
        }
        self.bucket.earn(&self.policy, now, records as u64);
        self.earned = true;
        let most = self.policy.of_records as usize;
        self.recent.committed(now, records, most);
        let last: Vec<i64> = offsets.rev().take(most).collect();
        for offset in last.into_iter().rev() {
            self.recent.note(offset, Went::Well, most);
        }
        let closed = self.closed.take()?;
        self.recent.forget();
        self.unsaved = true;
        self.calm_from = Some(now + Duration::from_millis(self.policy.calm_ms));
        Some(Change::Opened {
            lasted: now.saturating_duration_since(closed.since),
        })
    }

    /// A record failed. `last`: it has no attempts left, or the failure is one that no other attempt can mend.
    pub(crate) fn failed(
        &mut self,
        now: Instant,
        side: Side,
        offset: i64,
        failure: &Failure,
        last: bool,
    ) -> (Ruling, Option<Change>) {
        let was_closed = self.closed.is_some();
        let ruling = match failure.class {
            ErrorClass::Outage => {
                self.close(now, failure.code);
                Ruling::Stay
            }
            ErrorClass::Permanent | ErrorClass::Poison => {
                if self.bucket.take(&self.policy, now) {
                    self.unsaved = true;
                    Ruling::Bury
                } else {
                    self.note_failure(now, side, offset, failure.code);
                    self.unsaved = true;
                    Ruling::PutOff
                }
            }
            ErrorClass::Transient => {
                self.note_failure(now, side, offset, failure.code);
                if self.closed.is_some() {
                    Ruling::PutOff
                } else if !last {
                    Ruling::Count
                } else if self.is_calm(now)
                    // Without a success in between it may be the same thing that they miss.
                    && !self.recent.others_fail(offset)
                    && self.bucket.take(&self.policy, now)
                {
                    self.unsaved = true;
                    Ruling::Bury
                } else {
                    Ruling::PutOff
                }
            }
        };
        if was_closed {
            self.probe_later(now, side);
        }
        let news = !was_closed && self.closed.is_some();
        (ruling, news.then_some(Change::Closed))
    }

    fn is_calm(&self, now: Instant) -> bool {
        self.calm_from.is_none_or(|from| now >= from)
    }

    fn note_failure(&mut self, now: Instant, side: Side, offset: i64, code: &str) {
        if side == Side::Parking {
            self.recent.failed_again(offset);
            return;
        }
        let most = self.policy.of_records as usize;
        self.recent.note(offset, Went::Wrong, most);
        let limit = self.policy.failing_records as usize;
        if limit > 0
            && !self.recent.is_spoken_for(now, most / limit)
            && self.recent.failing() >= limit
        {
            self.close(now, code);
        }
    }

    fn close(&mut self, now: Instant, code: &str) {
        if self.closed.is_some() {
            return;
        }
        if self.is_calm(now) {
            self.failed_probes = 0;
        }
        self.unsaved = true;
        self.failed_probes = self.failed_probes.saturating_add(1);
        self.closed = Some(Closed {
            since: now,
            code: code.to_owned(),
            next_probe: now + self.probes.delay_after(self.failed_probes),
            probing: None,
            last: None,
        });
    }

    fn probe_later(&mut self, now: Instant, side: Side) {
        let Some(closed) = &mut self.closed else {
            return;
        };
        if closed.probing.is_some_and(|probing| probing != side) {
            return;
        }
        closed.probing = None;
        self.failed_probes = self.failed_probes.saturating_add(1);
        closed.next_probe = now + self.probes.delay_after(self.failed_probes);
    }

    /// What the transaction on its way should write, if anything: seldom.
    pub(crate) fn keep_due(&mut self, now: Instant) -> Option<Kept> {
        let due = self.earned && now.saturating_duration_since(self.saved_at) >= SAVE_EVERY;
        (self.unsaved || due).then(|| self.keep(now))
    }

    /// What a partition that is given away should write: what successes have earned, too.
    pub(crate) fn keep_last(&mut self, now: Instant) -> Option<Kept> {
        (self.unsaved || self.earned).then(|| self.keep(now))
    }

    fn keep(&mut self, now: Instant) -> Kept {
        self.revision += 1;
        let (window_left, successes, spent) = self.bucket.figures(now);
        Kept {
            revision: self.revision,
            window_left,
            successes,
            spent,
            closed: self.closed.as_ref().map(|closed| {
                let time = now.saturating_duration_since(closed.since);
                (time, closed.code.clone())
            }),
            calm_in: self
                .calm_from
                .map(|from| from.saturating_duration_since(now)),
        }
    }

    /// That is committed.
    pub(crate) fn saved(&mut self, now: Instant, revision: i64) {
        if revision == self.revision {
            self.unsaved = false;
            self.earned = false;
            self.saved_at = now;
        }
    }
}
