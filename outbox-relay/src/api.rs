//! HTTP for operators: what each source is doing, and its parked rows. Looking is free for all where it shows no data of
//! events; the rest is under one bearer token.

mod cursor;
mod parked;
mod problems;
mod shards;
pub mod views;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http_kit::{BearerAuth, Problem};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::coordinator::{Order, Task};
use crate::source::{PollingSource, Source as _};
use crate::state::{Shards, Status};
use crate::takeover::Seats;
use problems::{no_change, not_changed};
use views::ChangeView;

/// A source, as its operators reach it.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) shards: Arc<Shards>,
    /// A connection of its own, so that a question never waits for publishing.
    pub(crate) database: Mutex<PollingSource>,
    /// Orders to change the source as a whole.
    pub(crate) orders: mpsc::Sender<Order>,
    /// The last of them.
    pub(crate) latest: watch::Sender<Option<ChangeView>>,
    /// Where the cursors lie in Kafka.
    pub(crate) seats: Seats,
}

impl Desk {
    /// Has the source changed, and waits for that, but not for ever: what it takes depends on what waits in the outbox.
    async fn order(&self, task: Task) -> Result<ChangeView, Problem> {
        let (answer, answered) = oneshot::channel();
        let mut change = ChangeView::begun(&task);
        self.orders.try_send(Order { task, answer }).map_err(|_| {
            not_changed("another order for this source is being carried out".into())
        })?;
        self.latest.send_replace(Some(change.clone()));
        let latest = self.latest.clone();
        let done = tokio::spawn(async move {
            let done = answered.await;
            change.end(done.unwrap_or_else(|_| Err("the relay is stopping".into())));
            latest.send_replace(Some(change));
        });
        // Where it takes longer, whoever asked looks again.
        let _ = tokio::time::timeout(PATIENCE, done).await;
        // Its connection may still expect the database from before.
        self.database.lock().await.forget_identity();
        self.change()
    }

    /// What became of the last order; a problem where that failed.
    fn change(&self) -> Result<ChangeView, Problem> {
        let change = self.latest.borrow().clone();
        match change {
            None => Err(no_change()),
            Some(ChangeView {
                error: Some(reason),
                ..
            }) => Err(not_changed(reason)),
            Some(change) => Ok(change),
        }
    }
}

/// Shorter than a request may take.
const PATIENCE: Duration = Duration::from_secs(15);

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
        (name = "shards", description = "How a source is divided among relays, and which of them publishes what."),
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
        .routes(routes!(shards::divide))
        .with_state(Arc::clone(&desks))
        .route_layer(BearerAuth::new(token));
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(list_sources))
        .routes(routes!(shards::show))
        .routes(routes!(shards::change))
        .with_state(desks)
        .merge(guarded)
}

/// Every shard of every source, what it is doing and what waits in it
#[utoipa::path(get, path = "/v1/sources", tag = "sources", responses((status = 200, body = Vec<Status>)))]
async fn list_sources(State(desks): State<Desks>) -> Json<Vec<Status>> {
    let shards = desks.values().flat_map(|desk| desk.shards.list());
    Json(shards.map(|shard| shard.status()).collect())
}
