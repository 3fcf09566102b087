//! How often each operation was called, how often it had an effect, and where the money is.

use serde::Serialize;

use super::authorization::State;
use super::entry::Operation;
use super::money::Amount;

/// One number for each operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, utoipa::ToSchema)]
pub struct Counts {
    pub authorize: u64,
    pub capture: u64,
    pub void: u64,
    pub refund: u64,
}

impl Counts {
    pub fn count(&mut self, operation: Operation) {
        *match operation {
            Operation::Authorize => &mut self.authorize,
            Operation::Capture => &mut self.capture,
            Operation::Void => &mut self.void,
            Operation::Refund => &mut self.refund,
        } += 1;
    }

    pub fn highest(&self) -> u64 {
        self.authorize
            .max(self.capture)
            .max(self.void)
            .max(self.refund)
    }
}

/// What happened to an order, or to all of them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, utoipa::ToSchema)]
pub struct Tally {
    /// Calls that changed something. A declined authorisation is counted in `declined` instead.
    pub effects: Counts,
    /// Authorisations that were declined.
    pub declined: u64,
    /// Calls that arrived: effects, repeats, failures and refusals.
    pub calls: Counts,
    /// Authorised and neither captured nor voided.
    pub held_minor: i64,
    /// Captured and not refunded.
    pub captured_minor: i64,
}

/// An effect as the tally sees it: `before` is the authorisation's state before it, none for a new authorisation.
#[derive(Debug, Clone, Copy)]
pub struct Effect {
    pub operation: Operation,
    pub declined: bool,
    pub amount: Amount,
    pub before: Option<State>,
}

impl Tally {
    pub fn add(&mut self, effect: Effect) {
        if effect.declined {
            self.declined += 1;
            return;
        }
        self.effects.count(effect.operation);
        let amount = effect.amount.minor();
        match effect.operation {
            Operation::Authorize => self.held_minor += amount,
            Operation::Void => self.held_minor -= amount,
            Operation::Refund => self.captured_minor -= amount,
            Operation::Capture => {
                self.captured_minor += amount;
                // A second capture takes money that is no longer held.
                if effect.before == Some(State::Authorized) {
                    self.held_minor -= amount;
                }
            }
        }
    }
}
