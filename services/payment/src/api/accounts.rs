//! Merchant accounts: without one for its currency an order's payment becomes a dead letter, to be replayed afterwards.

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use http_kit::{FieldError, Path, Problem, ProblemBody, StrictJson, ValidJson, Validate, kinds};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ACCOUNT_NOT_FOUND, App};
use crate::domain::account::AccountName;
use crate::domain::money::Currency;
use crate::store::accounts;

/// On whose behalf the provider moves money of a currency.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "currency": "CHF", "account": "acme-chf", "created_at": "2026-01-01T12:00:00Z", "updated_at": "2026-01-01T12:00:00Z"
}))]
pub(super) struct MerchantAccount {
    currency: String,
    account: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// The account to use.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"account": "acme-chf"}))]
pub(super) struct AccountRequest {
    /// The provider's name for the account: 1 to 64 letters, digits, `-`, `_` or `.`.
    account: String,
}

impl Validate for AccountRequest {
    fn validate(&self) -> Vec<FieldError> {
        match AccountName::new(&self.account) {
            Some(_) => Vec::new(),
            None => vec![FieldError::at(
                "/account",
                "must be 1 to 64 letters, digits, '-', '_' or '.'",
            )],
        }
    }
}

impl From<accounts::MerchantAccount> for MerchantAccount {
    fn from(row: accounts::MerchantAccount) -> Self {
        let accounts::MerchantAccount {
            currency,
            account,
            created_at,
            updated_at,
        } = row;
        Self {
            currency,
            account,
            created_at,
            updated_at,
        }
    }
}

/// All merchant accounts, by currency.
#[utoipa::path(
    get, path = "/v1/merchant-accounts", tag = "merchant accounts",
    responses((status = 200, description = "one for each currency", body = Vec<MerchantAccount>))
)]
pub(super) async fn list(
    State(app): State<App>,
) -> Result<StrictJson<Vec<MerchantAccount>>, Problem> {
    let rows = accounts::list(&app.pool).await?;
    Ok(StrictJson(
        rows.into_iter().map(MerchantAccount::from).collect(),
    ))
}

/// Set the account of a currency. Orders in that currency can be paid from now on; dead letters of earlier ones can be
/// replayed.
#[utoipa::path(
    put, path = "/v1/merchant-accounts/{currency}", tag = "merchant accounts", request_body = AccountRequest,
    params(("currency" = String, Path, description = "ISO 4217 code", example = "CHF")),
    responses(
        (status = 201, description = "set for the first time", body = MerchantAccount),
        (status = 200, description = "replaced", body = MerchantAccount),
        (status = 400, description = "not a currency", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "not an account", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn put(
    State(app): State<App>,
    Path(currency): Path<String>,
    ValidJson(request): ValidJson<AccountRequest>,
) -> Result<(StatusCode, StrictJson<MerchantAccount>), Problem> {
    let currency = parse(&currency)?;
    let account = AccountName::new(&request.account)
        .ok_or_else(|| Problem::validation(request.validate()))?;
    let (row, created) = accounts::put(&app.pool, &currency, &account).await?;
    tracing::info!(
        currency = currency.as_str(),
        account = account.as_str(),
        created,
        "merchant account set"
    );
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, StrictJson(row.into())))
}

/// Remove the account of a currency. Payments that were begun keep theirs; later ones become dead letters.
#[utoipa::path(
    delete, path = "/v1/merchant-accounts/{currency}", tag = "merchant accounts",
    params(("currency" = String, Path, description = "ISO 4217 code", example = "CHF")),
    responses(
        (status = 204, description = "removed"),
        (status = 404, description = "there was none", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete(
    State(app): State<App>,
    Path(currency): Path<String>,
) -> Result<StatusCode, Problem> {
    let currency = parse(&currency)?;
    if !accounts::delete(&app.pool, &currency).await? {
        return Err(Problem::of(ACCOUNT_NOT_FOUND)
            .detail(format!("no merchant account is set for {currency}")));
    }
    tracing::info!(currency = currency.as_str(), "merchant account removed");
    Ok(StatusCode::NO_CONTENT)
}

fn parse(currency: &str) -> Result<Currency, Problem> {
    Currency::new(currency).ok_or_else(|| {
        let detail = format!("{currency:?} is not a currency: three capital letters, such as EUR");
        Problem::of(kinds::PATH_INVALID).detail(detail)
    })
}
