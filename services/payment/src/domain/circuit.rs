//! The circuit breaker: leaves a failing provider alone and finds out with one call whether it is back.
//!
//! A pure state machine; whoever owns it passes the time in. It counts failing *operations*, not tries: one order
//! that fails again and again must not stop all others.

use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// So many different operations in a row fail: open.
    pub failures: usize,
    /// How long it stays open before one call may try.
    pub open_for: Duration,
}

#[derive(Debug)]
pub struct Circuit {
    limits: Limits,
    state: State,
    /// Counts the changes of state: a call that began before a change says nothing about the time after it.
    generation: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Operations that failed since the last success.
    Closed(Vec<String>),
    Open {
        until: Instant,
    },
    /// One call is under way.
    HalfOpen,
}

/// What people are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    Closed,
    HalfOpen,
    Open,
}

impl Position {
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// Permission for one call, to be given back with [`Circuit::succeeded`], [`Circuit::failed`] or [`Circuit::abandoned`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

impl Circuit {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Closed(Vec::new()),
            generation: 0,
        }
    }

    /// May a call be made? If not: how long until it is worth asking again.
    pub fn admit(&mut self, now: Instant) -> Result<Ticket, Duration> {
        match self.state {
            State::Closed(_) => {}
            State::HalfOpen => return Err(self.limits.open_for),
            State::Open { until } if now < until => return Err(until - now),
            State::Open { .. } => self.change(State::HalfOpen),
        }
        Ok(Ticket(self.generation))
    }

    /// The provider answered: it is there.
    pub fn succeeded(&mut self, ticket: Ticket) {
        if ticket.0 != self.generation {
            return;
        }
        match &mut self.state {
            State::Closed(failed) => failed.clear(),
            _ => self.change(State::Closed(Vec::new())),
        }
    }

    /// It did not, or said that it cannot. `operation` names what was asked for.
    pub fn failed(&mut self, ticket: Ticket, operation: &str, now: Instant) {
        if ticket.0 != self.generation {
            return;
        }
        let until = now + self.limits.open_for;
        match &mut self.state {
            State::Closed(failed) => {
                if !failed.iter().any(|seen| seen == operation) {
                    failed.push(operation.to_owned());
                }
                if failed.len() >= self.limits.failures {
                    self.change(State::Open { until });
                }
            }
            _ => self.change(State::Open { until }),
        }
    }

    /// The caller went away before there was an outcome: the next one may try at once.
    pub fn abandoned(&mut self, ticket: Ticket, now: Instant) {
        if ticket.0 == self.generation && self.state == State::HalfOpen {
            self.change(State::Open { until: now });
        }
    }

    pub fn position(&self) -> Position {
        match self.state {
            State::Closed(_) => Position::Closed,
            State::HalfOpen => Position::HalfOpen,
            State::Open { .. } => Position::Open,
        }
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN_FOR: Duration = Duration::from_secs(5);

    fn circuit() -> (Circuit, Instant) {
        (
            Circuit::new(Limits {
                failures: 3,
                open_for: OPEN_FOR,
            }),
            Instant::now(),
        )
    }

    fn fail(circuit: &mut Circuit, operation: &str, now: Instant) {
        let ticket = circuit.admit(now).unwrap();
        circuit.failed(ticket, operation, now);
    }

    fn opened() -> (Circuit, Instant) {
        let (mut circuit, now) = circuit();
        ["a", "b", "c"]
            .iter()
            .for_each(|operation| fail(&mut circuit, operation, now));
        (circuit, now)
    }

    #[test]
    fn opens_after_different_operations_failed_in_a_row() {
        let (circuit, now) = opened();
        assert_eq!(circuit.position(), Position::Open);
        let mut circuit = circuit;
        assert_eq!(
            circuit.admit(now + Duration::from_secs(2)),
            Err(Duration::from_secs(3))
        );
    }

    #[test]
    fn one_operation_failing_for_ever_does_not_open_it() {
        let (mut circuit, now) = circuit();
        (0..100).for_each(|_| fail(&mut circuit, "a", now));
        assert_eq!(circuit.position(), Position::Closed);
    }

    #[test]
    fn a_success_between_failures_keeps_it_closed() {
        let (mut circuit, now) = circuit();
        for operation in ["a", "b", "c", "d", "e"] {
            fail(&mut circuit, operation, now);
            let ticket = circuit.admit(now).unwrap();
            circuit.succeeded(ticket);
        }
        assert_eq!(circuit.position(), Position::Closed);
    }

    #[test]
    fn one_probe_decides() {
        let (mut circuit, now) = opened();
        let later = now + OPEN_FOR;
        let probe = circuit.admit(later).unwrap();
        assert_eq!(circuit.position(), Position::HalfOpen);
        assert!(circuit.admit(later).is_err(), "only one at a time");
        circuit.failed(probe, "a", later);
        assert_eq!(circuit.position(), Position::Open);

        let probe = circuit.admit(later + OPEN_FOR).unwrap();
        circuit.succeeded(probe);
        assert_eq!(circuit.position(), Position::Closed);
        fail(&mut circuit, "a", later);
        assert_eq!(circuit.position(), Position::Closed, "counts anew");
    }

    #[test]
    fn a_probe_that_went_away_does_not_block_the_next() {
        let (mut circuit, now) = opened();
        let later = now + OPEN_FOR;
        let probe = circuit.admit(later).unwrap();
        circuit.abandoned(probe, later);
        assert!(circuit.admit(later).is_ok());
    }

    #[test]
    fn a_call_from_before_says_nothing_about_now() {
        let (mut circuit, now) = circuit();
        let early = circuit.admit(now).unwrap();
        ["a", "b", "c"]
            .iter()
            .for_each(|operation| fail(&mut circuit, operation, now));
        circuit.succeeded(early);
        assert_eq!(circuit.position(), Position::Open);
        let probe = circuit.admit(now + OPEN_FOR).unwrap();
        circuit.failed(early, "d", now);
        assert_eq!(circuit.position(), Position::HalfOpen);
        circuit.succeeded(probe);
        assert_eq!(circuit.position(), Position::Closed);
    }
}
