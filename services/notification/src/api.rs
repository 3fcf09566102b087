//! HTTP: what customers were told, for whoever has to answer their questions.

mod notifications;
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
        title = "Oncebox notifications",
        description = "Tells customers how their orders ended, by email or in the log, and shows what was sent. \
                       Answers hold addresses: give access to this API only to those who may see them."
    ),
    tags((name = "notifications", description = "What was sent, to whom, and what became of it."))
)]
struct Document;

/// The routes with their description.
pub(crate) fn routes(app: App) -> OpenApiRouter {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(notifications::list))
        .routes(routes!(notifications::show))
        .with_state(app)
}
