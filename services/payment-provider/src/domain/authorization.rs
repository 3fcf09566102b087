//! One authorisation: what is held or captured for an order.

use super::entry::Operation;
use super::money::{Amount, Currency};
use super::token::Script;

#[derive(Debug, Clone)]
pub struct Authorization {
    pub reference: String,
    pub amount: Amount,
    pub currency: Currency,
    pub script: Script,
    pub state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Authorized,
    Declined,
    Captured,
    Voided,
    Refunded,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Authorized => "authorized",
            Self::Declined => "declined",
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Refunded => "refunded",
        }
    }

    /// Whether an operation on the authorisation may follow. A second capture may: see the ledger's head.
    pub fn permits(self, operation: Operation) -> bool {
        match operation {
            Operation::Authorize => false,
            Operation::Capture => matches!(self, Self::Authorized | Self::Captured),
            Operation::Void => self == Self::Authorized,
            Operation::Refund => self == Self::Captured,
        }
    }

    /// The state that a successful operation leads to.
    pub fn after(operation: Operation) -> Self {
        match operation {
            Operation::Authorize => Self::Authorized,
            Operation::Capture => Self::Captured,
            Operation::Void => Self::Voided,
            Operation::Refund => Self::Refunded,
        }
    }
}
