//! The story of one order.

use axum::extract::State;
use http_kit::{Path, Problem, ProblemBody, StrictJson};
use uuid::Uuid;

use super::App;
use super::problems::not_found;
use super::views::{StepView, Timeline};
use crate::store::read;

/// Show everything that happened to an order: each step, when, and what caused it.
#[utoipa::path(
    get, path = "/v1/orders/{order_id}/events", tag = "orders",
    params(("order_id" = Uuid, Path, description = "The order.")),
    responses(
        (status = 200, description = "Every step so far, oldest first.", body = Timeline),
        (status = 404, description = "`order.not_found`", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn timeline(
    State(app): State<App>,
    Path(order): Path<Uuid>,
) -> Result<StrictJson<Timeline>, Problem> {
    // An order has its first entry from its own transaction on, so no entry is no order.
    let rows = read::timeline(&app.pool, order).await?;
    if rows.is_empty() {
        return Err(not_found(order));
    }
    let items = rows.into_iter().map(StepView::from).collect();
    Ok(StrictJson(Timeline {
        order_id: order,
        items,
    }))
}
