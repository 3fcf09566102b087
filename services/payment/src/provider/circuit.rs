//! The circuit breaker of `domain::circuit` with a clock and a lock: asked before each call, told after it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::CallError;
use crate::domain::circuit::{Circuit, Limits, Position, Ticket};
use crate::happenings::CircuitMoved;

#[derive(Debug)]
pub(super) struct Guard {
    circuit: Mutex<Circuit>,
}

/// Permission for one call. Dropped without an outcome (the caller was cancelled), it makes way for the next.
#[must_use]
pub(super) struct Permit<'a> {
    guard: &'a Guard,
    ticket: Option<Ticket>,
}

impl Guard {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            circuit: Mutex::new(Circuit::new(limits)),
        }
    }

    pub(super) fn admit(&self) -> Result<Permit<'_>, CallError> {
        let ticket = self.change(|circuit| circuit.admit(Instant::now()));
        let ticket = ticket.map_err(|retry_in| CallError::CircuitOpen { retry_in })?;
        Ok(Permit {
            guard: self,
            ticket: Some(ticket),
        })
    }

    pub(super) fn position(&self) -> Position {
        self.lock().position()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Circuit) -> T) -> T {
        let mut circuit = self.lock();
        let before = circuit.position();
        let result = change(&mut circuit);
        let after = circuit.position();
        drop(circuit);
        if before != after {
            telemetry::emit(CircuitMoved {
                from: before,
                to: after,
            });
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit<'_> {
    /// `key` names the operation, so that one that fails again and again counts once.
    pub(super) fn finish(mut self, key: &str, error: Option<&CallError>) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        self.guard.change(|circuit| match error {
            Some(error) if error.is_sickness() => circuit.failed(ticket, key, Instant::now()),
            _ => circuit.succeeded(ticket),
        });
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.guard
                .change(|circuit| circuit.abandoned(ticket, Instant::now()));
        }
    }
}
