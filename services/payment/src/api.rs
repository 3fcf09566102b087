//! HTTP in, HTTP out: what became of payments, and the merchant accounts.

mod accounts;
mod payments;

use http_kit::{Kind, StatusCode};
use sqlx::PgPool;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

const PAYMENT_NOT_FOUND: Kind = Kind::new(
    StatusCode::NOT_FOUND,
    "payment.not_found",
    "no payment for this order",
);
const ACCOUNT_NOT_FOUND: Kind = Kind::new(
    StatusCode::NOT_FOUND,
    "payment.merchant_account_not_found",
    "no merchant account for this currency",
);

/// What the requests share.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) pool: PgPool,
}

/// All routes, with their descriptions.
pub(crate) fn routes(app: App) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(payments::list))
        .routes(routes!(payments::show))
        .routes(routes!(accounts::list))
        .routes(routes!(accounts::put, accounts::delete))
        .with_state(app)
}
