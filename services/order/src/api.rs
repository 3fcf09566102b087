//! HTTP in, HTTP out: submit orders, look at them, call them off.

mod cancel;
mod orders;
mod problems;
mod submit;
mod timeline;
mod views;

use std::time::Duration;

use oncebox::Outbox;
use sqlx::PgPool;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::verdicts::Verdicts;

/// What every request needs.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) pool: PgPool,
    pub(crate) outbox: Outbox,
    pub(crate) verdicts: Verdicts,
    /// The longest wait of `Prefer: wait`.
    pub(crate) wait_max: Duration,
    /// How long an order may wait for an answer.
    pub(crate) saga_timeout: Duration,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Oncebox orders",
        description = "Takes orders, carries each through stock and payment to its verdict, and tells every step of \
                       the way. Amounts are whole numbers in the currency's minor unit."
    ),
    tags((name = "orders", description = "Submit, watch and call off orders."))
)]
struct Document;

/// The routes with their description.
pub(crate) fn routes(app: App) -> OpenApiRouter {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(submit::submit, orders::list))
        .routes(routes!(orders::show))
        .routes(routes!(orders::of_customer))
        .routes(routes!(cancel::cancel))
        .routes(routes!(timeline::timeline))
        .with_state(app)
}
