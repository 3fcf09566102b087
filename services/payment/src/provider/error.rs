//! How a call of the provider fails, and what that means for the record that led to it.

use std::time::Duration;

use oncebox::{Classify, ErrorClass};

#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// Not called: it failed too often just now.
    #[error("the payment provider is left alone for {} ms: its last calls failed", retry_in.as_millis())]
    CircuitOpen { retry_in: Duration },
    /// No connection, or not even a look-up is answered.
    #[error("the payment provider cannot be reached: {detail}")]
    Unreachable { detail: String },
    /// It says itself that it cannot answer anybody.
    #[error("the payment provider is unavailable (HTTP {status})")]
    Unavailable { status: u16 },
    /// The request may have arrived; its outcome is unknown.
    #[error(
        "the payment provider did not answer within {timeout_ms} ms: {detail}; the outcome is looked up before the next try"
    )]
    NoAnswer { timeout_ms: u64, detail: String },
    /// An error of this one request.
    #[error("the payment provider failed: {detail}")]
    Failed { detail: String },
    /// The authorisation is in a state that does not allow the operation.
    #[error("the payment provider refuses in the authorization's present state: {detail}")]
    Conflict { detail: String },
    /// The request will be refused again.
    #[error("the payment provider refuses the request (HTTP {status}): {detail}")]
    Refused { status: u16, detail: String },
}

impl CallError {
    /// An answer that makes no sense.
    pub(super) fn unintelligible(detail: impl Into<String>) -> Self {
        Self::Failed {
            detail: detail.into(),
        }
    }

    /// The provider is done with the call: no effect of it can come later.
    pub fn is_answer(&self) -> bool {
        match self {
            Self::NoAnswer { .. } => false,
            // A gateway gave up; what is behind it may still be at work.
            Self::Unavailable { status } => !matches!(status, 502 | 504),
            _ => true,
        }
    }

    /// It says something about the provider's health, not about the request.
    pub(super) fn is_sickness(&self) -> bool {
        !matches!(
            self,
            Self::CircuitOpen { .. } | Self::Conflict { .. } | Self::Refused { .. }
        )
    }

    /// For metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::CircuitOpen { .. } => "circuit_open",
            Self::Unreachable { .. } => "unreachable",
            Self::Unavailable { .. } => "unavailable",
            Self::NoAnswer { .. } => "no_answer",
            Self::Failed { .. } => "failed",
            Self::Conflict { .. } => "conflict",
            Self::Refused { .. } => "refused",
        }
    }
}

impl Classify for CallError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::CircuitOpen { .. } | Self::Unreachable { .. } | Self::Unavailable { .. } => {
                ErrorClass::Outage
            }
            Self::NoAnswer { .. } | Self::Failed { .. } => ErrorClass::Transient,
            Self::Conflict { .. } | Self::Refused { .. } => ErrorClass::Permanent,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::CircuitOpen { .. } => "payment.provider_circuit_open",
            Self::Unreachable { .. } => "payment.provider_unreachable",
            Self::Unavailable { .. } => "payment.provider_unavailable",
            Self::NoAnswer { .. } => "payment.provider_no_answer",
            Self::Failed { .. } => "payment.provider_error",
            Self::Conflict { .. } => "payment.provider_conflict",
            Self::Refused { .. } => "payment.provider_refused",
        }
    }
}
