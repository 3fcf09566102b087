//! The switch for outages and errors.

use std::sync::Arc;

use axum::extract::State;
use http_kit::{FieldError, Problem, ProblemBody, StrictJson};

use super::Provider;
use crate::domain::mode::Mode;

/// How the provider misbehaves at present.
#[utoipa::path(get, path = "/v1/mode", tag = "tests", responses((status = 200, description = "the mode", body = Mode)))]
pub(super) async fn mode(State(provider): State<Arc<Provider>>) -> StrictJson<Mode> {
    StrictJson(provider.mode())
}

/// Make it misbehave, or stop it. What is left out is off. A restart turns everything off.
#[utoipa::path(
    put, path = "/v1/mode", tag = "tests", request_body = Mode,
    responses(
        (status = 200, description = "the mode in force", body = Mode),
        (status = 422, description = "not a mode", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn set_mode(
    State(provider): State<Arc<Provider>>,
    StrictJson(mode): StrictJson<Mode>,
) -> Result<StrictJson<Mode>, Problem> {
    if !mode.is_valid() {
        return Err(Problem::validation(vec![FieldError::at(
            "/error_ratio",
            "must be from 0 to 1",
        )]));
    }
    provider.set_mode(mode);
    tracing::info!(
        down = mode.down,
        error_ratio = mode.error_ratio,
        seed = mode.seed,
        "failure mode set"
    );
    Ok(StrictJson(mode))
}
