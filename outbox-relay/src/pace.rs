//! Growing pauses: between looks into an idle outbox, and between attempts while something is away.

use std::time::{Duration, Instant};

/// Pauses that double from the first to the longest.
#[derive(Debug)]
pub(crate) struct Pace {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Pace {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// While database or broker is away.
    pub(crate) fn away() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(5))
    }

    /// The pause to take now; the one after it is twice as long.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
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
}
