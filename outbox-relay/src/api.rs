//! HTTP for operators: what each source is doing. Blocked rows and leases get their endpoints here.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shares;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::{Shared, Status};

type Sources = Arc<Vec<Arc<Shared>>>;

/// The relay's routes.
pub(crate) fn routes(sources: Sources) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list_sources))
        .with_state(sources)
}

/// Every source, what it is doing and what waits in it
#[utoipa::path(get, path = "/v1/sources", tag = "sources", responses((status = 200, body = Vec<Status>)))]
async fn list_sources(Shares(sources): Shares<Sources>) -> Json<Vec<Status>> {
    Json(sources.iter().map(|source| source.status()).collect())
}
