//! What an order holds, or why it holds nothing: for operators and tests.

use axum::extract::State;
use http_kit::{Path, Problem, ProblemBody, StrictJson};
use uuid::Uuid;

use super::App;
use super::problems::reservation_not_found;
use super::views::ReservationView;
use crate::store::reservations;

/// Show an order's reservation.
#[utoipa::path(
    get, path = "/v1/reservations/{order}", tag = "reservations",
    params(("order" = Uuid, Path, description = "The order.")),
    responses(
        (status = 200, description = "The reservation as it stands.", body = ReservationView),
        (status = 404, description = "`inventory.reservation_not_found`",
         body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(app): State<App>,
    Path(order): Path<Uuid>,
) -> Result<StrictJson<ReservationView>, Problem> {
    let row = reservations::find(&app.pool, order).await?;
    let row = row.ok_or_else(|| reservation_not_found(order))?;
    Ok(StrictJson(row.into()))
}
