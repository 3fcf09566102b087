//! Dead-letter slots of the present window.

use std::time::{Duration, Instant};

use super::FloodPolicy;

/// Slots: some are free in each window, successes earn more, dead letters spend them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bucket {
    ends: Instant,
    successes: u64,
    spent: u64,
}

impl Bucket {
    pub(crate) fn new(policy: &FloodPolicy, now: Instant) -> Self {
        Self::resume(policy, now, window(policy), 0, 0)
    }

    /// A window of which so much is left.
    pub(crate) fn resume(
        policy: &FloodPolicy,
        now: Instant,
        left: Duration,
        successes: u64,
        spent: u64,
    ) -> Self {
        Self {
            ends: now + left.min(window(policy)),
            successes,
            spent,
        }
    }

    /// Begins the next window when this one is over.
    fn roll(&mut self, policy: &FloodPolicy, now: Instant) {
        if now >= self.ends {
            *self = Self::new(policy, now);
        }
    }

    pub(crate) fn earn(&mut self, policy: &FloodPolicy, now: Instant, successes: u64) {
        self.roll(policy, now);
        self.successes = self.successes.saturating_add(successes);
    }

    pub(crate) fn slots(&mut self, policy: &FloodPolicy, now: Instant) -> u64 {
        self.roll(policy, now);
        let earned = match policy.successes_per_slot {
            0 => return u64::MAX,
            per => self.successes / u64::from(per),
        };
        (u64::from(policy.free_slots) + earned).saturating_sub(self.spent)
    }

    /// Takes a slot; false when there is none.
    pub(crate) fn take(&mut self, policy: &FloodPolicy, now: Instant) -> bool {
        let free = self.slots(policy, now) > 0;
        self.spent += u64::from(free);
        free
    }

    /// What is left of the window, successes and slots spent.
    pub(crate) fn figures(&self, now: Instant) -> (Duration, u64, u64) {
        let left = self.ends.saturating_duration_since(now);
        (left, self.successes, self.spent)
    }
}

fn window(policy: &FloodPolicy) -> Duration {
    Duration::from_secs(policy.window_s.max(1))
}
