//! The aggregate: one payment for an order.

use super::account::AccountName;
use super::money::{Amount, Currency, Token};
use super::operation::{Operation, OrderId};

/// All that is stored about the payment of an order.
#[derive(Debug, Clone)]
pub struct Payment {
    pub order: OrderId,
    /// What to authorise; none where a void came before any authorisation.
    pub charge: Option<Charge>,
    pub standing: Standing,
    tries: Vec<(Operation, Tries)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    pub customer: String,
    pub amount: Amount,
    pub currency: Currency,
    pub token: Token,
    /// The account of that currency, as it was when the provider was first asked.
    pub account: Option<AccountName>,
}

/// What is settled: only an answer of the provider, or a void before any authorisation, moves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Created,
    Authorized {
        authorization: String,
    },
    Declined {
        code: String,
        reason: String,
    },
    Captured {
        authorization: String,
        capture: String,
    },
    Voided,
    Refunded,
}

/// The calls of one operation whose outcome is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    pub calls: u32,
    /// Calls that ended with an answer, be it an error. The others may still be at work at the provider.
    pub answers: u32,
}

/// What the provider said in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Approved { id: String },
    Declined { code: String, reason: String },
}

/// What people are shown: a standing, or that an outcome is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Created,
    Authorized,
    Declined,
    Captured,
    Voided,
    Refunded,
    /// The provider was asked and has not answered: it will be asked what became of it before anything is repeated.
    Unknown,
}

impl State {
    pub const ALL: [Self; 7] = [
        Self::Created,
        Self::Authorized,
        Self::Declined,
        Self::Captured,
        Self::Voided,
        Self::Refunded,
        Self::Unknown,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Authorized => "authorized",
            Self::Declined => "declined",
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Refunded => "refunded",
            Self::Unknown => "unknown",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl Payment {
    pub fn new(
        order: OrderId,
        charge: Option<Charge>,
        standing: Standing,
        tries: Vec<(Operation, Tries)>,
    ) -> Self {
        Self {
            order,
            charge,
            standing,
            tries,
        }
    }

    /// Whether the provider was asked for it and its outcome is not stored.
    pub fn is_open(&self, operation: Operation) -> bool {
        self.tries(operation).is_some_and(|tries| tries.calls > 0)
    }

    /// Whether a call of it may still be at work at the provider.
    pub fn is_unanswered(&self, operation: Operation) -> bool {
        self.tries(operation)
            .is_some_and(|tries| tries.calls > tries.answers)
    }

    fn tries(&self, operation: Operation) -> Option<Tries> {
        self.tries
            .iter()
            .find(|(open, _)| *open == operation)
            .map(|(_, tries)| *tries)
    }

    pub fn state(&self) -> State {
        let unknown = Operation::ALL
            .into_iter()
            .any(|operation| self.is_unanswered(operation));
        match self.standing {
            Standing::Voided => State::Voided,
            Standing::Refunded => State::Refunded,
            Standing::Declined { .. } => State::Declined,
            _ if unknown => State::Unknown,
            Standing::Created => State::Created,
            Standing::Authorized { .. } => State::Authorized,
            Standing::Captured { .. } => State::Captured,
        }
    }

    /// Where an outcome leads. None: it does not follow from the present standing, and changes nothing.
    pub fn after(&self, operation: Operation, outcome: &Outcome) -> Option<Standing> {
        match (&self.standing, operation, outcome) {
            (Standing::Created, Operation::Authorize, Outcome::Approved { id }) => {
                Some(Standing::Authorized {
                    authorization: id.clone(),
                })
            }
            (Standing::Created, Operation::Authorize, Outcome::Declined { code, reason }) => {
                Some(Standing::Declined {
                    code: code.clone(),
                    reason: reason.clone(),
                })
            }
            (
                Standing::Authorized { authorization },
                Operation::Capture,
                Outcome::Approved { id },
            ) => Some(Standing::Captured {
                authorization: authorization.clone(),
                capture: id.clone(),
            }),
            (Standing::Authorized { .. }, Operation::Void, Outcome::Approved { .. }) => {
                Some(Standing::Voided)
            }
            (Standing::Captured { .. }, Operation::Refund, Outcome::Approved { .. }) => {
                Some(Standing::Refunded)
            }
            _ => None,
        }
    }

    /// The provider's id of the authorisation, once there is one.
    pub fn authorization(&self) -> Option<&str> {
        match &self.standing {
            Standing::Authorized { authorization } | Standing::Captured { authorization, .. } => {
                Some(authorization)
            }
            _ => None,
        }
    }
}
