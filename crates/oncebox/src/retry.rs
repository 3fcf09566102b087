//! How long to wait before the next attempt: exponentially longer, with jitter, up to a limit.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;
use serde::{Deserialize, Serialize};

/// How often a transiently failing record is tried again, and after which delays.
///
/// `retries` counts the attempts after the first: 5 means at most 6 attempts, then a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// Attempts after the first.
    pub retries: u32,
    /// How many of them are made at once, before the record is parked. They hold the partition up, so they do
    /// not wait.
    pub quick_retries: u32,
    /// Milliseconds before the first attempt of a parked record, without jitter.
    pub first_delay_ms: u64,
    /// By how much each delay is longer than the one before.
    pub factor: f64,
    /// Milliseconds that a delay never exceeds, without jitter.
    pub max_delay_ms: u64,
    /// How far a delay may be off, as a part of it: 0.5 is between half and one and a half. It keeps
    /// consumers that failed together from trying again together.
    pub jitter: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retries: 5,
            quick_retries: 1,
            first_delay_ms: 200,
            factor: 2.0,
            max_delay_ms: 10_000,
            jitter: 0.5,
        }
    }
}

impl RetryPolicy {
    /// For something that is away: tried as long as it takes, soon enough to go on quickly once it is back.
    pub(crate) const OUTAGE: Self = Self {
        retries: u32::MAX,
        quick_retries: 0,
        first_delay_ms: 100,
        factor: 2.0,
        max_delay_ms: 3_000,
        jitter: 0.3,
    };

    /// The delay of a record whose failure was not counted, after that many that were.
    pub(crate) fn delay_put_off(&self, counted: u32) -> Duration {
        self.delay_after(counted.saturating_sub(self.quick_retries).max(1))
    }

    /// The delay after that many failed attempts. It depends on nothing else, so a restart does not begin anew.
    pub(crate) fn delay_after(&self, failed: u32) -> Duration {
        let factor = self.factor.max(1.0);
        let max = Duration::from_millis(self.max_delay_ms);
        let grown = self.first_delay_ms as f64
            * factor.powi(i32::try_from(failed.saturating_sub(1)).unwrap_or(i32::MAX));
        let current = Duration::from_millis(grown.min(self.max_delay_ms as f64) as u64);
        let mut exponential = ExponentialBackoff {
            current_interval: current,
            initial_interval: current,
            randomization_factor: self.jitter.clamp(0.0, 1.0),
            multiplier: factor,
            max_interval: max,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        exponential.next_backoff().unwrap_or(max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_limit_and_no_further() {
        let policy = RetryPolicy {
            jitter: 0.0,
            ..RetryPolicy::default()
        };
        let delays: Vec<u128> = [1, 2, 3, 6, 7, 100, u32::MAX]
            .into_iter()
            .map(|failed| policy.delay_after(failed).as_millis())
            .collect();
        assert_eq!(delays, [200, 400, 800, 6_400, 10_000, 10_000, 10_000]);
    }

    #[test]
    fn jitter_spreads_around_the_delay() {
        let policy = RetryPolicy::default();
        let delays: Vec<u128> = (0..200)
            .map(|_| policy.delay_after(2).as_millis())
            .collect();
        assert!(
            delays.iter().all(|delay| (200..=601).contains(delay)),
            "{delays:?}"
        );
        assert!(delays.iter().any(|delay| *delay < 350) && delays.iter().any(|delay| *delay > 450));
    }

    #[test]
    fn nonsense_does_not_panic() {
        let policy = RetryPolicy {
            factor: f64::NAN,
            jitter: 7.0,
            first_delay_ms: u64::MAX,
            ..RetryPolicy::default()
        };
        assert!(policy.delay_after(3) <= Duration::from_millis(20_001));
    }
}
