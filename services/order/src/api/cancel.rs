//! Calling an order off.

use axum::extract::State;
use axum::response::Response;
use chrono::{SubsecRound, Utc};
use http_kit::{FieldError, Path, Problem, ProblemBody, ValidJson, Validate};
use oncebox::Cause;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::App;
use super::orders::current;
use super::problems::{ALREADY_REJECTED, not_found};
use super::views::OrderView;
use crate::domain::saga::{SagaEvent, Verdict};
use crate::happenings::OrderDecided;
use crate::store::locked::lock;
use crate::store::progress::{Happened, ProgressError, Source, advance};
use crate::store::read;

/// The longest reason, in characters.
const REASON_MAX: usize = 500;

/// Why an order is called off.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CancelRequest {
    /// For people to read, 1 to 500 characters; the customer is told.
    #[schema(example = "ordered by mistake", min_length = 1, max_length = 500)]
    reason: String,
}

impl Validate for CancelRequest {
    fn validate(&self) -> Vec<FieldError> {
        let length = self.reason.trim().chars().count();
        if self.reason.chars().any(char::is_control) {
            vec![FieldError::at(
                "/reason",
                "must be one line, without control characters",
            )]
        } else if (1..=REASON_MAX).contains(&length) {
            Vec::new()
        } else {
            vec![FieldError::at(
                "/reason",
                format!("must have 1 to {REASON_MAX} characters, and has {length}"),
            )]
        }
    }
}

/// Cancel an order, at whatever step it is.
///
/// Decided at once. What is held is then given back: the stock is released or restocked, the payment voided
/// or refunded; `settled` turns true when that is done. Cancelling a cancelled order again changes nothing.
#[utoipa::path(
    post, path = "/v1/orders/{order_id}/cancel", tag = "orders", request_body = CancelRequest,
    params(("order_id" = Uuid, Path, description = "The order.")),
    responses(
        (status = 200, description = "The order, cancelled.", body = OrderView),
        (status = 404, description = "`order.not_found`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`order.already_rejected`: there is nothing to cancel.",
         body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`request.invalid`", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn cancel(
    State(app): State<App>,
    Path(order): Path<Uuid>,
    ValidJson(request): ValidJson<CancelRequest>,
) -> Result<Response, Problem> {
    let mut tx = app.pool.begin().await?;
    let locked = lock(&mut tx, &[order]).await?;
    let found = locked.get(&order).ok_or_else(|| not_found(order))?;
    if found.saga().map_err(ProgressError::from)?.verdict() == Verdict::Rejected {
        let detail = format!(
            "order {order} was rejected before it could be cancelled; nothing will be delivered or charged"
        );
        return Err(Problem::of(ALREADY_REJECTED)
            .detail(detail)
            .with("order_id", order));
    }
    // The order's own correlation: the cancellation belongs to its story. The trace is this request's.
    let cause = Cause {
        correlation: found.correlation.clone(),
        ..Cause::current()
    };
    let event = SagaEvent::CancelRequested {
        reason: request.reason.trim().to_owned(),
    };
    let happened = [Happened {
        order,
        event,
        cause,
        source: Source::Request,
    }];
    let decided = advance(
        &mut tx,
        &app.outbox,
        &locked,
        &happened,
        Utc::now().trunc_subsecs(3),
    )
    .await?;
    tx.commit().await?;
    decided
        .iter()
        .for_each(|decided| telemetry::emit(OrderDecided(decided)));
    let row = read::find(&app.pool, order)
        .await?
        .ok_or_else(|| not_found(order))?;
    Ok(current(&app, row))
}
