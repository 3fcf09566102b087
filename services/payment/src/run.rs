//! Puts the service together and runs it until it is told to stop.

use std::sync::Arc;

use anyhow::Context;
use futures::FutureExt;
use http_kit::{Server, service};
use oncebox::{
    Codec, CodecError, Consumer, ConsumerHealth, ConsumerSettings, Event, Outbox, Parking,
};
use schemas::payment::{
    AuthorizePayment, PaymentAuthorized, PaymentCaptured, PaymentDeclined, PaymentVoided,
};
use sqlx::PgPool;
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

/// Brings the database to this version, then returns.
///
/// # Errors
/// A database that cannot be reached, or is of a newer version.
pub async fn migrate(settings: &Settings) -> anyhow::Result<()> {
    let pool = service::connect(&settings.database_url, settings.database_connections).await?;
    prepare(&pool).await
}

/// Runs the service until `shutdown` is cancelled or a part of it fails.
///
/// # Errors
/// Whatever keeps it from starting, or the part that failed. What was done until then is in the database.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> anyhow::Result<()> {
    start(settings, shutdown).await?.finished().await
}

/// Starts the service and returns when it takes requests; [`run`] is this and [`service::Running::finished`].
///
/// # Errors
/// Whatever keeps it from starting.
pub async fn start(
    settings: Settings,
    shutdown: CancellationToken,
) -> anyhow::Result<service::Running> {
    let telemetry = telemetry::init(SERVICE, VERSION, settings.log_format, &settings.log_filter)?;
    let provider = Arc::new(Provider::new(settings.provider())?);
    let pool = service::connect(&settings.database_url, settings.database_connections).await?;
    prepare(&pool).await?;
    let codec = Codec::new(&settings.schema_registry, Some(pool.clone()))?;
    if let Err(error) = learn_schemas(&codec).await {
        // It may run for days on what the database remembers; only the first start ever needs the registry.
        tracing::warn!(%error, "schemas not learned, asking again with the first event of each type");
    }

    // One token for all parts: the first that ends, whyever, ends the others in good order.
    let stop = shutdown.child_token();
    let consumer = consumer(&settings, &pool, &codec, provider.clone());
    let server = server(
        &settings,
        telemetry,
        pool.clone(),
        codec,
        provider,
        consumer.health(),
    );
    let bound = server.bind(&settings.http_address, stop.clone()).await?;
    let mut running = service::Running::serving(bound, pool.clone(), stop.clone())?;
    let consuming = consumer.run(stop.clone());
    running.part(async move { consuming.await.context("the Kafka consumer failed") });
    running.part(watch(pool, stop).map(Ok));
    Ok(running)
}

/// The group `payment`, which carries out the order service's commands.
fn consumer(
    settings: &Settings,
    pool: &PgPool,
    codec: &Codec,
    provider: Arc<Provider>,
) -> Consumer<Payments> {
    let consumer = ConsumerSettings {
        topic_prefix: settings.topic_prefix.clone(),
        retry: settings.retry,
        flood: settings.flood,
        on_dead_letter: settings.on_dead_letter,
        parked_limit: settings.parked_limit,
        batch_max_records: settings.batch_max_records.max(1),
        handler_timeout: settings.batch_timeout(),
        ..ConsumerSettings::new(&settings.kafka, SERVICE, [AuthorizePayment::TOPIC])
    };
    let outbox = Outbox::new(codec.clone(), SERVICE, &settings.topic_prefix);
    let handler = Payments::new(
        pool.clone(),
        outbox,
        provider,
        settings.provider_concurrency,
    );
    Consumer::new(consumer, pool.clone(), codec.clone(), VERSION, handler)
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
    consumer: ConsumerHealth,
) -> Server {
    let database = pool.clone();
    let parking = Parking::new(pool.clone(), SERVICE);
    let routes = routes(App { pool }).merge(consumer_desk::routes(parking, &settings.token));
    Server::new(SERVICE, VERSION, telemetry, routes)
        .check("database", move || {
            let pool = database.clone();
            async move { sqlx::query("select 1").execute(&pool).await.map(|_| ()) }
        })
        // Commands wait in Kafka while it, the provider or the registry is away; they go on when it is back.
        .check_optional("kafka", move || {
            let consumer = consumer.clone();
            async move { consumer.check() }
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
