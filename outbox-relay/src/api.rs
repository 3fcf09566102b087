//! HTTP for operators: what each source is doing, and its parked rows. Looking is free for all where it shows no data of
//! events; the rest is under one bearer token.

mod cursor;
mod parked;
mod problems;
pub mod views;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http_kit::BearerAuth;
use tokio::sync::{Mutex, Notify, mpsc};
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::reset::Order;
use crate::source::PollingSource;
use crate::state::{Shared, Status};
use crate::takeover::Seat;

/// A source, as its operators reach it.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) shared: Arc<Shared>,
    /// A connection of its own, so that a question never waits for publishing.
    pub(crate) database: Mutex<PollingSource>,
    /// Tells the instance that something has changed.
    pub(crate) poke: Arc<Notify>,
    /// Orders to put the cursor elsewhere.
    pub(crate) orders: mpsc::Sender<Order>,
    /// Where the cursor lies in Kafka.
    pub(crate) seat: Seat,
}

/// By source name.
pub(crate) type Desks = Arc<BTreeMap<String, Desk>>;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "outbox-relay",
        description = "What each source is doing, and the rows that the broker refuses.",
        license(name = "MIT OR Apache-2.0")
    ),
    tags(
        (name = "cursor", description = "How far a source is published, and putting that elsewhere after a restore or a failover."),
        (name = "sources", description = "What is published from where."),
        (name = "parked rows", description = "Rows that are refused by the broker, behind such a row, delayed or skipped.")
    ),
    modifiers(&BearerToken)
)]
struct Document;

struct BearerToken;

impl utoipa::Modify for BearerToken {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme(
            "token",
            SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
        );
    }
}

/// The relay's routes.
pub(crate) fn routes(desks: Desks, token: &str) -> OpenApiRouter {
    let guarded = OpenApiRouter::new()
        .routes(routes!(parked::list))
        .routes(routes!(parked::show))
        .routes(routes!(parked::decide))
        .routes(routes!(parked::audit))
        .routes(routes!(cursor::show, cursor::set))
        .with_state(Arc::clone(&desks))
        .route_layer(BearerAuth::new(token));
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(list_sources))
        .with_state(desks)
        .merge(guarded)
}

/// Every source, what it is doing and what waits in it
#[utoipa::path(get, path = "/v1/sources", tag = "sources", responses((status = 200, body = Vec<Status>)))]
async fn list_sources(State(desks): State<Desks>) -> Json<Vec<Status>> {
    Json(desks.values().map(|desk| desk.shared.status()).collect())
}
