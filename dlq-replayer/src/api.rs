//! HTTP in, HTTP out: dead letters, replays, and a look into Kafka. All under one bearer token.

mod bytes;
mod dlq;
pub mod kafka;
mod problems;
mod records;
mod replays;
pub mod views;

use std::sync::Arc;
use std::time::Duration;

use http_kit::BearerAuth;
use oncebox::Codec;
use sqlx::PgPool;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::inspect::Inspector;

/// What the handlers share.
#[derive(Debug)]
pub struct App {
    /// The index.
    pub pool: PgPool,
    /// The look into Kafka.
    pub inspector: Inspector,
    /// Reads values.
    pub codec: Codec,
    /// How long reading a topic may take for one page.
    pub read_time_limit: Duration,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "dlq-replayer",
        description = "What failed, why, and how to replay it; and a look into Kafka's topics and groups.",
        license(name = "MIT OR Apache-2.0")
    ),
    tags(
        (name = "dead letters", description = "What could not be processed, and replaying it."),
        (name = "kafka", description = "Topics, groups and records. Reads only: joins no group, commits nothing.")
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

/// All routes; whoever has not the token gets a 401 problem.
pub fn routes(app: Arc<App>, token: &str) -> OpenApiRouter {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(dlq::topics))
        .routes(routes!(dlq::letters))
        .routes(routes!(dlq::letter))
        .routes(routes!(dlq::value))
        .routes(routes!(replays::replay_letter))
        .routes(routes!(replays::replay_many, replays::replays))
        .routes(routes!(kafka::topics))
        .routes(routes!(kafka::topic))
        .routes(routes!(kafka::groups))
        .routes(routes!(kafka::group))
        .routes(routes!(records::browse))
        .routes(routes!(records::find))
        .with_state(app)
        .route_layer(BearerAuth::new(token))
}
