//! A payment provider simulator that is a real HTTP server.
//!
//! Payments are scripted by test tokens, every operation is idempotent by key, and the ledger says how often each order
//! was authorised, captured, voided and refunded. See `domain::token` for the tokens and `domain::mode` for outages.

pub mod api;
pub mod domain;
pub mod settings;
pub mod store;

use std::sync::Arc;

use anyhow::Context as _;
use http_kit::Server;
use http_kit::server::Bound;
use tokio_util::sync::CancellationToken;

pub use settings::{DEFAULTS, Settings};

/// Name in logs, metrics and the API's description.
pub const NAME: &str = "payment-provider";

/// Serves until `shutdown` is cancelled.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> anyhow::Result<()> {
    Ok(bind(settings, shutdown).await?.serve().await?)
}

/// Reads the ledger back and takes the address: for tests, which ask for port 0 and want to know the real one.
pub async fn bind(settings: Settings, shutdown: CancellationToken) -> anyhow::Result<Bound> {
    let telemetry = telemetry::init(
        NAME,
        env!("CARGO_PKG_VERSION"),
        settings.log_format,
        &settings.log_filter,
    )?;
    let book = store::Book::open(settings.ledger_path()).context("the ledger cannot be used")?;
    let provider = Arc::new(api::Provider::new(book, settings.hang(), shutdown.clone()));
    let server = Server::new(
        NAME,
        env!("CARGO_PKG_VERSION"),
        telemetry,
        api::routes(provider),
    );
    // An answer that is lost on purpose must be able to outlive the client's timeout, not the server's.
    let server = server.request_timeout(settings.hang() * 2 + std::time::Duration::from_secs(30));
    Ok(server.bind(&settings.http_address, shutdown).await?)
}
