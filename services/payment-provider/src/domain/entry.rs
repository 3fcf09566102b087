//! One call to the provider and what came of it: the unit of the ledger and of its file.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::money::{Amount, Currency};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Authorize,
    Capture,
    Void,
    Refund,
}

impl Operation {
    pub const ALL: [Self; 4] = [Self::Authorize, Self::Capture, Self::Void, Self::Refund];

    pub fn name(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|operation| operation.name() == name)
    }
}

/// What a caller asks for. Two calls with one idempotency key must ask for the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
pub enum Work {
    Authorize {
        amount_minor: Amount,
        currency: Currency,
        token: String,
        reference: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        merchant_account: Option<String>,
    },
    Capture {
        authorization_id: String,
    },
    Void {
        authorization_id: String,
    },
    Refund {
        authorization_id: String,
    },
}

impl Work {
    pub fn operation(&self) -> Operation {
        match self {
            Self::Authorize { .. } => Operation::Authorize,
            Self::Capture { .. } => Operation::Capture,
            Self::Void { .. } => Operation::Void,
            Self::Refund { .. } => Operation::Refund,
        }
    }

    /// The authorisation that the work is about; none for a new one.
    pub fn authorization_id(&self) -> Option<&str> {
        match self {
            Self::Authorize { .. } => None,
            Self::Capture { authorization_id }
            | Self::Void { authorization_id }
            | Self::Refund { authorization_id } => Some(authorization_id),
        }
    }
}

/// Why an authorisation was declined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decline {
    pub code: String,
    pub reason: String,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// The work was done now, once. `id` names the effect; for an authorisation it is the authorisation's own.
    Done {
        id: String,
        declined: Option<Decline>,
    },
    /// The key was seen before: the stored answer again, nothing done.
    Repeated,
    /// Answered 500, nothing done.
    Failed,
    /// The state of the authorisation forbids it (409), nothing done.
    Refused,
}

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub at: DateTime<Utc>,
    pub key: String,
    #[serde(flatten)]
    pub work: Work,
    #[serde(flatten)]
    pub answer: Answer,
}
