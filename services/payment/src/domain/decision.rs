//! What to do next for a command: the rules of the payment, in one pure function.
//!
//! It is asked again after every step, until the command is settled. Before an operation that may have been tried is
//! tried again, it is looked up: a lost answer never leads to a second effect.

use super::answer::answer;
use super::command::Ask;
use super::operation::Operation;
use super::payment::{Payment, Standing};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The stored standing answers the command.
    Settled,
    /// Ask the provider what became of an earlier call.
    LookUp(Operation),
    /// Have the provider do it.
    Call(Operation),
    /// Nothing is held and nothing may be held any more: leave a tombstone.
    Bury,
    /// Trying again cannot help.
    Refuse(Refusal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No merchant account for the currency; the provider was not asked.
    MerchantAccountMissing,
    /// A capture without an authorisation.
    NothingAuthorized,
    /// A capture after a void was begun.
    VoidBegun,
}

/// Operations that the provider, asked in the course of this command, did not know.
#[derive(Debug, Clone, Default)]
pub struct Absent(Vec<Operation>);

impl Absent {
    pub fn insert(&mut self, operation: Operation) {
        self.0.push(operation);
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn contains(&self, operation: Operation) -> bool {
        self.0.contains(&operation)
    }
}

/// `payment` is none where nothing is stored about the order.
pub fn decide(payment: Option<&Payment>, ask: &Ask, absent: &Absent) -> Decision {
    let Some(payment) = payment else {
        return Decision::Refuse(Refusal::NothingAuthorized);
    };
    if answer(payment, ask).is_some() {
        return Decision::Settled;
    }
    let look_up = |operation| payment.is_open(operation) && !absent.contains(operation);
    match (ask, &payment.standing) {
        (Ask::Authorize(_), _) if look_up(Operation::Authorize) => {
            Decision::LookUp(Operation::Authorize)
        }
        (Ask::Authorize(_), _)
            if payment
                .charge
                .as_ref()
                .is_none_or(|charge| charge.account.is_none()) =>
        {
            Decision::Refuse(Refusal::MerchantAccountMissing)
        }
        (Ask::Authorize(_), _) => Decision::Call(Operation::Authorize),

        (Ask::Capture, Standing::Authorized { .. }) if payment.is_open(Operation::Void) => {
            Decision::Refuse(Refusal::VoidBegun)
        }
        (Ask::Capture, Standing::Authorized { .. }) if look_up(Operation::Capture) => {
            Decision::LookUp(Operation::Capture)
        }
        (Ask::Capture, Standing::Authorized { .. }) => Decision::Call(Operation::Capture),
        (Ask::Capture, _) => Decision::Refuse(Refusal::NothingAuthorized),

        (Ask::Void, Standing::Created) if look_up(Operation::Authorize) => {
            Decision::LookUp(Operation::Authorize)
        }
        // The provider does not know it *yet*: a call without an answer may still arrive there. Asking again under the
        // same key makes its outcome certain, and then there is something to void.
        (Ask::Void, Standing::Created) if payment.is_unanswered(Operation::Authorize) => {
            Decision::Call(Operation::Authorize)
        }
        (Ask::Void, Standing::Created) => Decision::Bury,
        // An unanswered capture that is not known yet loses against the void at the provider, or wins and is refunded.
        (Ask::Void, Standing::Authorized { .. }) => [Operation::Capture, Operation::Void]
            .into_iter()
            .find(|operation| look_up(*operation))
            .map_or(Decision::Call(Operation::Void), Decision::LookUp),
        (Ask::Void, _) if look_up(Operation::Refund) => Decision::LookUp(Operation::Refund),
        (Ask::Void, _) => Decision::Call(Operation::Refund),
    }
}

#[cfg(test)]
mod tests;
