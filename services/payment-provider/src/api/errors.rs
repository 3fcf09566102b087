//! The problems that the simulator answers with, beside those that all services share.

use http_kit::{Kind, Problem, StatusCode, kinds};

use crate::domain::ledger::Refusal;

pub(super) const AUTHORIZATION_NOT_FOUND: Kind = Kind::new(
    StatusCode::NOT_FOUND,
    "provider.authorization_not_found",
    "no such authorization",
);
pub(super) const OPERATION_NOT_FOUND: Kind = Kind::new(
    StatusCode::NOT_FOUND,
    "provider.operation_not_found",
    "nothing was done under this key",
);
pub(super) const STATE_CONFLICT: Kind = Kind::new(
    StatusCode::CONFLICT,
    "provider.state_conflict",
    "the authorization's state forbids this",
);
pub(super) const SIMULATED_ERROR: Kind = Kind::new(
    StatusCode::INTERNAL_SERVER_ERROR,
    "provider.simulated_error",
    "this error was asked for",
);
pub(super) const DOWN: Kind = Kind::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "provider.down",
    "the provider is down, as asked for",
);

pub(super) fn simulated() -> Problem {
    Problem::of(SIMULATED_ERROR).detail("the test token or the failure mode asks for an error here")
}

pub(super) fn down() -> Problem {
    Problem::of(DOWN)
        .detail("PUT /v1/mode {\"down\": false} brings it back")
        .retry_after(1)
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::KeyReused => Problem::of(kinds::PAYLOAD_MISMATCH),
            Refusal::NoSuchAuthorization => Problem::of(AUTHORIZATION_NOT_FOUND),
            Refusal::Conflict(state) => Problem::of(STATE_CONFLICT)
                .detail(format!("the authorization is {}", state.name()))
                .with("state", state.name()),
        }
    }
}
