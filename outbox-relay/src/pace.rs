//! Growing pauses: between looks into an idle outbox, and between attempts while something is away.

use std::time::{Duration, Instant};

/// Pauses that double from the first to the longest.
#[derive(Debug)]
pub(crate) struct Pace {
    first: Duration,
    longest: Duration,
    next: Duration,
    /// The part of a pause, from 0 to 1, that chance may take away.
    jitter: f64,
}

impl Pace {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
            jitter: 0.0,
        }
    }

    /// While database or broker is away. Relays that lost it at the same moment do not come back at the same moment, and
    /// two that oust each other do not go on in step.
    pub(crate) fn away() -> Self {
        Self {
            jitter: 0.5,
            ..Self::new(Duration::from_millis(100), Duration::from_secs(5))
        }
    }

    /// The pause to take now; the one after it is twice as long.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause.mul_f64(1.0 - self.jitter * rand::random::<f64>())
    }

    /// Begins with the shortest again.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// Pauses between looks into an outbox: short ones while something was found lately, long ones after a while without.
#[derive(Debug)]
pub(crate) struct Idle {
    lively: Pace,
    at_rest: Duration,
    since: Instant,
}

/// So long without a find, and looks become rare.
const LIVELY: Duration = Duration::from_secs(5);

impl Idle {
    pub(crate) fn new(first: Duration, longest: Duration, at_rest: Duration) -> Self {
        Self {
            lively: Pace::new(first, longest),
            at_rest,
            since: Instant::now(),
        }
    }

    /// The pause to take now.
    pub(crate) fn pause(&mut self) -> Duration {
        if self.since.elapsed() < LIVELY {
            return self.lively.pause();
        }
        self.at_rest.max(self.lively.longest)
    }

    /// After a find, or a word that there will be one.
    pub(crate) fn reset(&mut self) {
        self.lively.reset();
        self.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_while_without_a_find_looks_are_rare_until_the_next() {
        let ms = Duration::from_millis;
        let mut idle = Idle::new(ms(2), ms(50), ms(200));
        assert_eq!(idle.pause(), ms(2));
        idle.since -= LIVELY;
        assert_eq!(idle.pause(), ms(200));
        idle.reset();
        assert_eq!(idle.pause(), ms(2));
    }

    #[test]
    fn pauses_grow_to_the_longest_and_begin_again() {
        let mut pace = Pace::new(Duration::from_millis(2), Duration::from_millis(5));
        let taken: Vec<_> = (0..3).map(|_| pace.pause().as_millis()).collect();
        assert_eq!(taken, [2, 4, 5]);
        pace.reset();
        assert_eq!(pace.pause().as_millis(), 2);
    }

    #[test]
    fn pauses_while_something_is_away_differ_by_up_to_a_half() {
        let mut pace = Pace::away();
        for full in [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
            let (pause, full) = (pace.pause(), Duration::from_millis(full));
            assert!(full / 2 <= pause && pause <= full, "{pause:?} of {full:?}");
        }
        let firsts: std::collections::HashSet<_> = (0..8).map(|_| Pace::away().pause()).collect();
        assert!(firsts.len() > 1);
    }
}
