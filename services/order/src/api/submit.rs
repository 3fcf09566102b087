//! Taking orders.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{SubsecRound, Utc};
use http_kit::idempotency::{self, Answer, Fingerprint, IdempotencyKey, Outcome};
use http_kit::{FieldError, PreferWait, Problem, ProblemBody, StrictJson, Wait};
use oncebox::Cause;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::App;
use super::orders::{current, etag};
use super::problems::not_found;
use super::views::OrderView;
use crate::domain::{OrderId, Submission};
use crate::happenings::OrderAccepted;
use crate::store::insert::insert;
use crate::store::read;

/// What an `Idempotency-Key` is unique within.
const SCOPE: &str = "POST /v1/orders";

/// The shape of a submission, for the description alone: `domain::submission` reads it, because serde would
/// stop at the first error.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "customer_id": "customer-1", "currency": "EUR",
    "lines": [{"product": "mug", "quantity": 2, "unit_price_minor": 450}],
    "total_minor": 900, "email": "ada@example.com", "payment": {"token": "tok_approved"}
}))]
#[allow(dead_code, reason = "describes what is read elsewhere")]
pub(super) struct OrderSubmission {
    /// Letters, digits, `.`, `_`, `-`.
    #[schema(min_length = 1, max_length = 64)]
    customer_id: String,
    /// ISO 4217 alphabetic code.
    #[schema(min_length = 3, max_length = 3)]
    currency: String,
    /// Each product once.
    #[schema(min_items = 1, max_items = 100)]
    lines: Vec<LineSubmission>,
    /// If stated, it must be the sum of the lines.
    total_minor: Option<i64>,
    /// Where to tell what became of the order.
    #[schema(format = "email")]
    email: Option<String>,
    payment: PaymentSubmission,
}

/// A line of a submission.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "describes what is read elsewhere")]
pub(super) struct LineSubmission {
    /// The product's slug: letters, digits, `.`, `_`, `-`.
    #[schema(min_length = 1, max_length = 64)]
    product: String,
    #[schema(minimum = 1, maximum = 10000)]
    quantity: i32,
    /// Price of one, in the currency's minor unit.
    #[schema(minimum = 0)]
    unit_price_minor: i64,
}

/// How a submission is paid.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "describes what is read elsewhere")]
pub(super) struct PaymentSubmission {
    /// The payment provider's token for the means of payment.
    #[schema(min_length = 1, max_length = 255)]
    token: String,
}

/// Submit an order.
///
/// Accepted orders are answered at once, with 202 and a `Location` to watch. With `Prefer: wait=N` the answer
/// comes with the verdict, or after N seconds: 200 and the order as it then stands, or 202 if it is still pending.
///
/// A repeat with the same `Idempotency-Key` and the same body places nothing: it gets the first acceptance again, byte
/// for byte, with `Idempotent-Replayed: true`; with `Prefer: wait` it waits for that order's verdict.
/// A refused submission (4xx) leaves no trace; mended, it may be sent with the same key.
#[utoipa::path(
    post, path = "/v1/orders", tag = "orders", request_body = OrderSubmission,
    params(
        ("Idempotency-Key" = String, Header, description = "1 to 255 visible characters, new for every order and the \
         same for every repeat. A UUID is a good one.", example = "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: wait up to N seconds (at most 30) for the verdict.",
         example = "wait=10"),
    ),
    responses(
        (status = 202, description = "Accepted.", body = OrderView, headers(
            ("Location" = String, description = "The order."),
            ("Idempotent-Replayed" = String, description = "`true` when this is a first answer given again."))),
        (status = 200, description = "The verdict is known (only with `Prefer: wait`).", body = OrderView),
        (status = 400, description = "`idempotency.key_missing`, `idempotency.key_invalid` or `request.json_syntax`.",
         body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`idempotency.in_flight`: the first request with this key is still running.",
         body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "`http.body_too_large`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "`http.unsupported_media_type`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`request.invalid` with every wrong field, or `idempotency.payload_mismatch`.",
         body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn submit(
    State(app): State<App>,
    key: IdempotencyKey,
    prefer: PreferWait,
    StrictJson(body): StrictJson<Value>,
) -> Result<Response, Problem> {
    let submission = Submission::parse(&body).map_err(|wrong| {
        Problem::validation(
            wrong
                .into_iter()
                .map(|error| FieldError::at(error.pointer, error.detail))
                .collect(),
        )
    })?;
    let answer = accept(&app, &key, &body, &submission).await?;
    match prefer.at_most(app.wait_max) {
        Some(wait) => verdict(&app, &answer, wait).await,
        None => Ok(answer.into_response()),
    }
}

/// Key, order and events in one transaction; or the answer that the key already has.
async fn accept(
    app: &App,
    key: &IdempotencyKey,
    body: &Value,
    submission: &Submission,
) -> Result<Answer, Problem> {
    let mut tx = app.pool.begin().await?;
    let fingerprint = Fingerprint::of(SCOPE, body)?;
    let claim = match idempotency::begin(&mut tx, SCOPE, key, fingerprint).await? {
        Outcome::Repeated(answer) => return Ok(answer),
        Outcome::First(claim) => claim,
    };
    let order = OrderId::generate();
    let now = Utc::now().trunc_subsecs(3);
    let row = insert(
        &mut tx,
        &app.outbox,
        order,
        submission,
        &Cause::current(),
        now,
    )
    .await?;
    let version = row.version;
    let answer = Answer::json(StatusCode::ACCEPTED, &OrderView::of(row, app.saga_timeout))?
        .header("location", format!("/v1/orders/{order}"))
        .header("etag", etag(version).to_str().unwrap_or_default());
    idempotency::finish(&mut tx, claim, &answer).await?;
    tx.commit().await?;
    telemetry::emit(OrderAccepted {
        order: order.as_uuid(),
        lines: submission.lines.len(),
        currency: submission.currency.code(),
    });
    Ok(answer)
}

/// The accepted order, as it stands when its verdict is known or the wait is over.
async fn verdict(app: &App, accepted: &Answer, wait: Wait) -> Result<Response, Problem> {
    /// All that is needed of an acceptance.
    #[derive(Deserialize)]
    struct Accepted {
        order_id: Uuid,
    }
    let order = serde_json::from_slice::<Accepted>(accepted.body())
        .map_err(Problem::internal)?
        .order_id;
    app.verdicts.wait(order, wait.duration()).await;
    let row = read::find(&app.pool, order)
        .await?
        .ok_or_else(|| not_found(order))?;
    let status = if row.decided_at.is_some() {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    let replayed = accepted
        .is_replayed()
        .then_some([("idempotent-replayed", "true")]);
    let location = [("location", format!("/v1/orders/{order}"))];
    Ok((
        status,
        [wait.applied()],
        location,
        replayed,
        current(app, row),
    )
        .into_response())
}
