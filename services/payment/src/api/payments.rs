//! What became of payments, and what the provider was asked.

use axum::extract::State;
use chrono::{DateTime, Utc};
use http_kit::{
    Cursor, FieldError, Limit, Page, Path, Problem, ProblemBody, Query, StrictJson, kinds,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{App, PAYMENT_NOT_FOUND};
use crate::domain::operation::OrderId;
use crate::domain::payment::State as PaymentState;
use crate::store::queries::{self, After, OperationRow, PaymentRow};

/// The payment of an order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "order_id": "0198c0de-0000-7000-8000-000000000000", "state": "captured", "customer_id": "customer-1",
    "amount_minor": 1250, "currency": "EUR", "merchant_account": "acme-eur",
    "created_at": "2026-01-01T12:00:00Z", "updated_at": "2026-01-01T12:00:01Z",
    "operations": [{
        "operation": "authorize", "idempotency_key": "0198c0de-0000-7000-8000-000000000000-authorize",
        "outcome": "known", "provider_id": "auth_0198c0df00007000800000000000", "calls": 1, "answers": 1,
        "first_called_at": "2026-01-01T12:00:00Z", "last_called_at": "2026-01-01T12:00:00Z", "settled_at": "2026-01-01T12:00:00Z"
    }]
}))]
pub(super) struct Payment {
    order_id: Uuid,
    /// created, authorized, declined, captured, voided, refunded; or unknown: the provider was asked and did not answer,
    /// and is asked what became of it before anything is repeated.
    state: String,
    /// Who pays; absent where a void came before any authorisation. So are amount and currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_id: Option<String>,
    /// In the currency's minor unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    amount_minor: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merchant_account: Option<String>,
    /// The provider's code, where it declined.
    #[serde(skip_serializing_if = "Option::is_none")]
    decline_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decline_reason: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// What the provider was asked, in that order.
    operations: Vec<Operation>,
}

/// One thing that the provider was asked to do.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Operation {
    /// authorize, capture, void or refund.
    operation: String,
    /// The key under which the provider does it once.
    idempotency_key: String,
    /// known; failed: every call was answered with an error; unknown: a call got no answer.
    outcome: &'static str,
    /// The provider's id of what it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_id: Option<String>,
    calls: i32,
    /// Calls that were answered.
    answers: i32,
    /// How the last call that failed did.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    first_called_at: DateTime<Utc>,
    last_called_at: DateTime<Utc>,
    /// When the outcome became known.
    #[serde(skip_serializing_if = "Option::is_none")]
    settled_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Only payments in this state, such as `unknown`.
    state: Option<String>,
    /// Most entries on the page, 1 to 100.
    #[serde(default)]
    #[param(value_type = Option<Limit>)]
    limit: Limit,
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<Position>>,
}

/// The last payment of a page.
type Position = (DateTime<Utc>, Uuid);

/// The payment of an order, with every operation at the provider.
#[utoipa::path(
    get, path = "/v1/payments/{order}", tag = "payments",
    params(("order" = Uuid, Path, description = "the order's id")),
    responses(
        (status = 200, description = "the payment", body = Payment),
        (status = 404, description = "nothing was asked for this order", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(app): State<App>,
    Path(order): Path<Uuid>,
) -> Result<StrictJson<Payment>, Problem> {
    let found = queries::payment(&app.pool, OrderId(order)).await?;
    let payment = found.ok_or_else(|| {
        Problem::of(PAYMENT_NOT_FOUND)
            .detail(format!("no payment command arrived for order {order}"))
    })?;
    let operations = queries::operations(&app.pool, &[order]).await?;
    Ok(StrictJson(Payment::of(payment, operations)))
}

/// Payments, newest first.
#[utoipa::path(
    get, path = "/v1/payments", tag = "payments", params(Asked),
    responses(
        (status = 200, description = "a page", body = Page<Payment>),
        (status = 400, description = "not a filter", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Result<StrictJson<Page<Payment>>, Problem> {
    let state = asked.state.as_deref().map(state).transpose()?;
    let after = asked.cursor.map(|Cursor((created_at, order))| After {
        created_at,
        order: OrderId(order),
    });
    let rows = queries::payments(&app.pool, state, after, asked.limit.and_one()).await?;
    let page = Page::of(rows, asked.limit, |row| (row.created_at, row.order_id));
    let orders: Vec<Uuid> = page.items.iter().map(|row| row.order_id).collect();
    let mut operations = queries::operations(&app.pool, &orders).await?;
    let page = page.map(|row| {
        let own = operations
            .extract_if(.., |operation| operation.order_id == row.order_id)
            .collect();
        Payment::of(row, own)
    });
    Ok(StrictJson(page))
}

fn state(name: &str) -> Result<PaymentState, Problem> {
    PaymentState::parse(name).ok_or_else(|| {
        let known = PaymentState::ALL.map(PaymentState::name).join(", ");
        let detail = format!("{name:?} is not a state: {known}");
        Problem::of(kinds::QUERY_INVALID)
            .detail(detail.clone())
            .error(FieldError::parameter("state", detail))
    })
}

impl Payment {
    fn of(row: PaymentRow, operations: Vec<OperationRow>) -> Self {
        Self {
            order_id: row.order_id,
            state: row.state,
            customer_id: row.customer_id,
            amount_minor: row.amount_minor,
            currency: row.currency,
            merchant_account: row.merchant_account,
            decline_code: row.decline_code,
            decline_reason: row.decline_reason,
            created_at: row.created_at,
            updated_at: row.updated_at,
            operations: operations.into_iter().map(Operation::from).collect(),
        }
    }
}

impl From<OperationRow> for Operation {
    fn from(row: OperationRow) -> Self {
        let outcome = match row.settled_at {
            Some(_) => "known",
            None if row.calls > row.answers => "unknown",
            None => "failed",
        };
        Self {
            operation: row.operation,
            idempotency_key: row.idempotency_key,
            outcome,
            provider_id: row.provider_id,
            calls: row.calls,
            answers: row.answers,
            last_error: row.last_error,
            first_called_at: row.first_called_at,
            last_called_at: row.last_called_at,
            settled_at: row.settled_at,
        }
    }
}
