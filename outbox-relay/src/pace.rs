//! Growing pauses: between looks into an idle outbox, and between attempts while something is away.

use std::time::Duration;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_begin_again() {
        let mut pace = Pace::new(Duration::from_millis(2), Duration::from_millis(5));
        let taken: Vec<_> = (0..3).map(|_| pace.pause().as_millis()).collect();
        assert_eq!(taken, [2, 4, 5]);
        pace.reset();
        assert_eq!(pace.pause().as_millis(), 2);
    }
}
