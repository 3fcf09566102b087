//! Authorise, capture, void, refund, and the look-up by key.

use std::sync::Arc;

use axum::extract::State;
use http_kit::{FieldError, Path, Problem, ProblemBody, StrictJson, ValidJson, Validate};
use serde::Deserialize;
use utoipa::ToSchema;

use super::calls::call;
use super::key::Key;
use super::receipt::Receipt;
use super::{Provider, errors};
use crate::domain::entry::Work;
use crate::domain::money::{Amount, Currency};

/// What to set aside.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "amount_minor": 1250, "currency": "EUR", "token": "tok_approved", "reference": "0198c0de-0000-7000-8000-000000000000"
}))]
pub(super) struct AuthorizationRequest {
    /// Amount in the currency's minor unit, greater than 0.
    amount_minor: i64,
    /// ISO 4217 code.
    currency: String,
    /// A test token; any other is declined.
    token: String,
    /// The merchant's own name for the payment, by which the ledger is asked.
    reference: String,
    /// On whose behalf; kept, not checked.
    #[serde(default)]
    merchant_account: Option<String>,
}

impl Validate for AuthorizationRequest {
    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if Amount::new(self.amount_minor).is_none() {
            errors.push(FieldError::at("/amount_minor", "must be greater than 0"));
        }
        if Currency::new(&self.currency).is_none() {
            errors.push(FieldError::at(
                "/currency",
                "must be three capital letters, such as EUR",
            ));
        }
        let names = [("/token", &self.token), ("/reference", &self.reference)];
        for (pointer, value) in names {
            if value.is_empty() || value.len() > 255 {
                errors.push(FieldError::at(pointer, "must have 1 to 255 bytes"));
            }
        }
        errors
    }
}

type Answered = Result<StrictJson<Receipt>, Problem>;

/// Set an amount aside.
#[utoipa::path(
    post, path = "/v1/authorizations", tag = "payments", request_body = AuthorizationRequest,
    params(("Idempotency-Key" = String, Header, description = "names this operation; repeated, it is answered again and not done again")),
    responses(
        (status = 200, description = "approved, or declined", body = Receipt),
        (status = 422, description = "invalid, or the key was used for something else", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "as the token or the mode asks", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn authorize(
    State(provider): State<Arc<Provider>>,
    Key(key): Key,
    ValidJson(request): ValidJson<AuthorizationRequest>,
) -> Answered {
    let (Some(amount_minor), Some(currency)) = (
        Amount::new(request.amount_minor),
        Currency::new(&request.currency),
    ) else {
        return Err(Problem::validation(request.validate()));
    };
    let AuthorizationRequest {
        token,
        reference,
        merchant_account,
        ..
    } = request;
    let work = Work::Authorize {
        amount_minor,
        currency,
        token,
        reference,
        merchant_account,
    };
    call(provider, key, work).await.map(StrictJson)
}

/// Collect what was set aside.
#[utoipa::path(
    post, path = "/v1/authorizations/{id}/capture", tag = "payments",
    params(("id" = String, Path, description = "the authorization"), ("Idempotency-Key" = String, Header)),
    responses(
        (status = 200, description = "captured", body = Receipt),
        (status = 404, description = "no such authorization", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "declined, voided or refunded", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn capture(
    State(provider): State<Arc<Provider>>,
    Path(authorization_id): Path<String>,
    Key(key): Key,
) -> Answered {
    call(provider, key, Work::Capture { authorization_id })
        .await
        .map(StrictJson)
}

/// Let go of what was set aside.
#[utoipa::path(
    post, path = "/v1/authorizations/{id}/void", tag = "payments",
    params(("id" = String, Path, description = "the authorization"), ("Idempotency-Key" = String, Header)),
    responses(
        (status = 200, description = "voided", body = Receipt),
        (status = 404, description = "no such authorization", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "captured already, or nothing is held", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn void(
    State(provider): State<Arc<Provider>>,
    Path(authorization_id): Path<String>,
    Key(key): Key,
) -> Answered {
    call(provider, key, Work::Void { authorization_id })
        .await
        .map(StrictJson)
}

/// Give back what was collected.
#[utoipa::path(
    post, path = "/v1/authorizations/{id}/refund", tag = "payments",
    params(("id" = String, Path, description = "the authorization"), ("Idempotency-Key" = String, Header)),
    responses(
        (status = 200, description = "refunded", body = Receipt),
        (status = 404, description = "no such authorization", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "not captured, or refunded already", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn refund(
    State(provider): State<Arc<Provider>>,
    Path(authorization_id): Path<String>,
    Key(key): Key,
) -> Answered {
    call(provider, key, Work::Refund { authorization_id })
        .await
        .map(StrictJson)
}

/// What became of an operation, by its idempotency key.
#[utoipa::path(
    get, path = "/v1/operations/{key}", tag = "payments",
    params(("key" = String, Path, description = "the operation's idempotency key")),
    responses(
        (status = 200, description = "it had its effect", body = Receipt),
        (status = 404, description = "it had none (yet)", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn operation(
    State(provider): State<Arc<Provider>>,
    Path(key): Path<String>,
) -> Answered {
    if provider.mode().down {
        return Err(errors::down());
    }
    let pages = provider.book.lock();
    let receipt = pages
        .ledger
        .effect(&key)
        .and_then(|entry| Receipt::of(&pages.ledger, entry));
    receipt
        .map(StrictJson)
        .ok_or_else(|| Problem::of(errors::OPERATION_NOT_FOUND))
}
