//! HTTP conventions, once: problems, idempotency keys, pagination, auth, health, OpenAPI, graceful shutdown.
//!
//! A service brings its routes; [`Server`] brings what all services have in common. A whole one:
//!
//! ```no_run
//! use http_kit::{Kind, Path, Problem, ProblemBody, Server, StatusCode, StrictJson, health};
//! use serde::{Deserialize, Serialize};
//! use sqlx::PgPool;
//! use tokio_util::sync::CancellationToken;
//! use utoipa::ToSchema;
//! use utoipa_axum::{router::OpenApiRouter, routes};
//!
//! #[derive(Serialize, Deserialize)]
//! #[serde(deny_unknown_fields)]
//! pub struct Settings {
//!     http_address: String,
//!     database_url: String,
//!     log_format: telemetry::LogFormat,
//!     log_filter: String,
//! }
//!
//! #[derive(Serialize, ToSchema)]
//! struct Stock {
//!     product: String,
//!     units: i64,
//! }
//!
//! /// Explained by `docs/errors/stock.unknown_product.md`.
//! const UNKNOWN_PRODUCT: Kind = Kind::new(StatusCode::NOT_FOUND, "stock.unknown_product", "no such product");
//!
//! /// How many units of a product there are.
//! #[utoipa::path(get, path = "/v1/stock/{product}", responses(
//!     (status = 200, body = Stock),
//!     (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
//! async fn show(
//!     axum::extract::State(pool): axum::extract::State<PgPool>,
//!     Path(product): Path<String>,
//! ) -> Result<StrictJson<Stock>, Problem> {
//!     let units: Option<i64> = sqlx::query_scalar("select units from stock where product = $1")
//!         .bind(&product)
//!         .fetch_optional(&pool)
//!         .await?; // an outage is a 503 with Retry-After, by itself
//!     let units = units.ok_or_else(|| Problem::of(UNKNOWN_PRODUCT).detail(format!("{product:?} is not stocked")))?;
//!     Ok(StrictJson(Stock { product, units }))
//! }
//!
//! pub async fn run(settings: Settings, shutdown: CancellationToken) -> anyhow::Result<()> {
//!     let version = env!("CARGO_PKG_VERSION");
//!     let telemetry = telemetry::init("stock", version, settings.log_format, &settings.log_filter)?;
//!     let pool = PgPool::connect(&settings.database_url).await?;
//!     let routes = OpenApiRouter::new().routes(routes!(show)).with_state(pool.clone());
//!     Server::new("stock", version, telemetry, routes)
//!         .check("database", health::database(pool))
//!         .serve(&settings.http_address, shutdown)
//!         .await?;
//!     Ok(())
//! }
//!
//! #[tokio::main]
//! async fn main() -> anyhow::Result<()> {
//!     let defaults = "…"; // include_str!("../defaults.toml")
//!     let cli = settings::Cli::parse_for("stock", env!("CARGO_PKG_VERSION"), "Knows what is in stock.", defaults);
//!     run(cli.settings(), http_kit::shutdown::token()).await
//! }
//! ```
//!
//! # Conventions
//! - Every answer that is an error is a [`Problem`]: RFC 9457, a stable code, a page behind its `type`, the request's id.
//!   All that is wrong with a request is said at once, each with its place.
//! - Nothing of a request is silently ignored: unknown fields, unknown query parameters and wrong media types are refused.
//! - An outage is never an answer: a database that is away is a 503 with Retry-After, never a 404 and never an empty list.
//! - What changes something and may be repeated takes an [`IdempotencyKey`]; see [`idempotency`].
//! - Lists come in [`Page`]s: a `limit` from 1 to 100, an opaque `cursor`.
//! - Metric labels are bounded: the route's pattern, never the path; known methods, `other` for the rest.

mod auth;
mod extract;
pub mod health;
pub mod idempotency;
mod json;
mod kind;
mod page;
mod pointer;
mod prefer;
mod problem;
pub mod request;
pub mod server;
pub mod service;
pub mod shutdown;

pub use auth::{BearerAuth, Guarded};
pub use axum::http::StatusCode;
pub use extract::{Path, Query};
pub use idempotency::IdempotencyKey;
pub use json::{StrictJson, ValidJson, Validate};
pub use kind::{Kind, kinds};
pub use page::{Cursor, InvalidCursor, Limit, Page};
pub use prefer::{PreferWait, Wait};
pub use problem::{FieldError, MEDIA_TYPE, Problem, ProblemBody};
pub use server::{Server, ServerError, error_page};
