//! Wakes the thread that polls: something was fetched, or a buffer has room again.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Rung by any thread; heard once, also when nobody waited at that moment.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    pub(super) fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }

    /// Returns when it rings, or has rung since the last wait; at the latest after that time.
    pub(super) fn wait(&self, longest: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .changed
            .wait_timeout_while(rung, longest, |rung| !*rung);
        let (mut rung, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *rung = false;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_ring_before_the_wait_is_heard_and_heard_once() {
        let bell = Bell::default();
        let (started, long) = (Instant::now(), Duration::from_secs(60));
        bell.ring();
        bell.ring();
        bell.wait(long);
        std::thread::scope(|scope| {
            scope.spawn(|| bell.ring());
            bell.wait(long);
        });
        assert!(started.elapsed() < long);
        let short = Duration::from_millis(10);
        let started = Instant::now();
        bell.wait(short);
        assert!(started.elapsed() >= short);
    }
}
