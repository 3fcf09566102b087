//! HTTP in, HTTP out: keep stock, count it, see what is held for whom.

mod precondition;
mod problems;
mod reservations;
mod stock;
mod views;

use sqlx::PgPool;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// What every request needs.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) pool: PgPool,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Oncebox inventory",
        description = "How much of each product there is, how much of it is held for orders, and what became of each \
                       order's reservation. Stock is whole units; it never goes below zero, nor below what is held."
    ),
    tags(
        (name = "inventory", description = "Keep stock of products and count it."),
        (name = "reservations", description = "What an order holds, or why it holds nothing.")
    )
)]
struct Document;

/// The routes with their description.
pub(crate) fn routes(app: App) -> OpenApiRouter {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(stock::create, stock::list))
        .routes(routes!(stock::show, stock::change))
        .routes(routes!(reservations::show))
        .with_state(app)
}
