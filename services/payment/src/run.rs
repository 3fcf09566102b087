//! Puts the service together and runs it until it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http_kit::Server;
use oncebox::{Codec, CodecError, Outbox};
use schemas::payment::{PaymentAuthorized, PaymentCaptured, PaymentDeclined, PaymentVoided};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::{App, routes};
use crate::handlers::{Payments, watch};
use crate::provider::Provider;
use crate::settings::Settings;
use crate::store;

/// The service's name: of its binary, its consumer group and the source of its events.
pub const SERVICE: &str = "payment";
/// The version that is running.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long a request waits for a free connection before it is answered with 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Brings the database to this version, then returns.
///
/// # Errors
/// A database that cannot be reached, or is of a newer version.
pub async fn migrate(settings: &Settings) -> anyhow::Result<()> {
    let pool = connect(settings).await?;
    prepare(&pool).await
}

/// Runs the service until `shutdown` is cancelled or a part of it fails.
///
/// # Errors
/// Whatever keeps it from starting, or the part that failed. What was done until then is in the database.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> anyhow::Result<()> {
    let telemetry = telemetry::init(SERVICE, VERSION, settings.log_format, &settings.log_filter)?;
    let provider = Arc::new(Provider::new(settings.provider())?);
    let pool = connect(&settings).await?;
    prepare(&pool).await?;
    let codec = Codec::new(&settings.schema_registry, Some(pool.clone()))?;
    if let Err(error) = learn_schemas(&codec).await {
        // It may run for days on what the database remembers; only the first start ever needs the registry.
        tracing::warn!(%error, "schemas not learned, asking again with the first event of each type");
    }
    let outbox = Outbox::new(codec.clone(), SERVICE, &settings.topic_prefix);
    let handler = Payments::new(
        pool.clone(),
        outbox.clone(),
        provider.clone(),
        settings.provider_concurrency,
    );
    let _ = handler;

    // One token for all parts: the first that ends, whyever, ends the others in good order.
    let stop = shutdown.child_token();
    let mut parts = JoinSet::new();
    let server = server(&settings, telemetry, pool.clone(), codec, provider);
    let bound = server.bind(&settings.http_address, stop.clone()).await?;
    parts.spawn(async move { bound.serve().await.context("the HTTP server failed") });
    let watching = watch(pool.clone(), stop.clone());
    parts.spawn(async move {
        watching.await;
        Ok(())
    });

    let mut outcome = Ok(());
    while let Some(ended) = parts.join_next().await {
        let ended = ended
            .context("a part of the service panicked")
            .and_then(|result| result);
        if !stop.is_cancelled() && ended.is_ok() {
            outcome = Err(anyhow::anyhow!("a part of the service ended unasked"));
        } else if outcome.is_ok() {
            outcome = ended;
        }
        stop.cancel();
    }
    pool.close().await;
    tracing::info!("stopped");
    outcome
}

async fn connect(settings: &Settings) -> anyhow::Result<PgPool> {
    PgPoolOptions::new()
        .max_connections(settings.database_connections.max(2))
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect(&settings.database_url)
        .await
        .context(
            "the database cannot be reached; check the setting database_url (ONCEBOX_DATABASE_URL)",
        )
}

async fn prepare(pool: &PgPool) -> anyhow::Result<()> {
    store::migrate(pool)
        .await
        .context("the database could not be brought to this version")
}

/// Asks for the id of every schema that this service writes, so that a registry which goes away later is not missed.
async fn learn_schemas(codec: &Codec) -> Result<(), CodecError> {
    codec.schema_id::<PaymentAuthorized>().await?;
    codec.schema_id::<PaymentDeclined>().await?;
    codec.schema_id::<PaymentCaptured>().await?;
    codec.schema_id::<PaymentVoided>().await?;
    Ok(())
}

fn server(
    settings: &Settings,
    telemetry: telemetry::Telemetry,
    pool: PgPool,
    codec: Codec,
    provider: Arc<Provider>,
) -> Server {
    let _ = settings;
    let database = pool.clone();
    Server::new(SERVICE, VERSION, telemetry, routes(App { pool }))
        .check("database", move || {
            let pool = database.clone();
            async move { sqlx::query("select 1").execute(&pool).await.map(|_| ()) }
        })
        .check_optional("payment_provider", move || {
            let health = provider.health();
            async move { health }
        })
        .check_optional("schema_registry", move || {
            let codec = codec.clone();
            async move { codec.registry().ping().await }
        })
}
