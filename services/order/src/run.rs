//! Puts the service together and runs it until it is told to stop.

use std::time::Duration;

use anyhow::Context;
use futures::FutureExt;
use http_kit::{Server, service};
use oncebox::{
    Codec, CodecError, Consumer, ConsumerHealth, ConsumerSettings, Event, Outbox, Parking,
};
use schemas::inventory::{CommitStock, ReleaseStock, ReserveStock, StockReserved};
use schemas::order::{OrderCancelled, OrderConfirmed, OrderPlaced};
use schemas::payment::{AuthorizePayment, CapturePayment, PaymentAuthorized, VoidPayment};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::api::{App, routes};
use crate::handlers::replies::Replies;
use crate::handlers::{housekeeping, sweep};
use crate::settings::Settings;
use crate::store;
use crate::verdicts::Verdicts;

/// The service's name: of its binary, its consumer group and the source of its events.
pub const SERVICE: &str = "order";
/// The version that is running.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a request may take beside the longest wait for a verdict.
const REQUEST_MARGIN: Duration = Duration::from_secs(10);

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
/// Whatever keeps it from starting, or the part that failed. What was accepted until then is in the database.
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
    let pool = service::connect(&settings.database_url, settings.database_connections).await?;
    prepare(&pool).await?;
    let codec = Codec::new(&settings.schema_registry, Some(pool.clone()))?;
    if let Err(error) = learn_schemas(&codec).await {
        // It may run for days on what the database remembers; only the first start ever needs the registry.
        tracing::warn!(%error, "schemas not learned, asking again with the first event of each type");
    }
    let outbox = Outbox::new(codec.clone(), SERVICE, &settings.topic_prefix);
    let verdicts = Verdicts::default();
    let app = App {
        pool: pool.clone(),
        outbox: outbox.clone(),
        verdicts: verdicts.clone(),
        wait_max: settings.wait_max(),
        saga_timeout: settings.saga_timeout(),
    };

    // One token for all parts: the first that ends, whyever, ends the others in good order.
    let stop = shutdown.child_token();
    let consumer = consumer(&settings, &pool, &codec, outbox.clone());
    let server = server(&settings, telemetry, app, codec, consumer.health());
    let bound = server.bind(&settings.http_address, stop.clone()).await?;
    let mut running = service::Running::serving(bound, pool.clone(), stop.clone())?;
    let consuming = consumer.run(stop.clone());
    running.part(async move { consuming.await.context("the Kafka consumer failed") });
    running.part({
        let (pool, stop) = (pool.clone(), stop.clone());
        async move { verdicts.run(pool, stop).map(Ok).await }
    });
    let (timeout, interval) = (settings.saga_timeout(), settings.sweep_interval());
    running.part(sweep::run(pool.clone(), outbox, timeout, interval, stop.clone()).map(Ok));
    running.part(housekeeping::run(pool, settings.idempotency_age(), stop).map(Ok));
    Ok(running)
}

async fn prepare(pool: &PgPool) -> anyhow::Result<()> {
    store::migrate(pool)
        .await
        .context("the database could not be brought to this version")
}

/// Asks for the id of every schema that this service writes, so that a registry which goes away later is not missed.
async fn learn_schemas(codec: &Codec) -> Result<(), CodecError> {
    codec.schema_id::<OrderPlaced>().await?;
    codec.schema_id::<OrderConfirmed>().await?;
    codec.schema_id::<OrderCancelled>().await?;
    codec.schema_id::<ReserveStock>().await?;
    codec.schema_id::<CommitStock>().await?;
    codec.schema_id::<ReleaseStock>().await?;
    codec.schema_id::<AuthorizePayment>().await?;
    codec.schema_id::<CapturePayment>().await?;
    codec.schema_id::<VoidPayment>().await?;
    Ok(())
}

/// The group `order`, which hears what inventory and payment answer.
fn consumer(
    settings: &Settings,
    pool: &PgPool,
    codec: &Codec,
    outbox: Outbox,
) -> Consumer<Replies> {
    let topics = [StockReserved::TOPIC, PaymentAuthorized::TOPIC];
    let settings = ConsumerSettings {
        topic_prefix: settings.topic_prefix.clone(),
        retry: settings.retry,
        flood: settings.flood,
        on_dead_letter: settings.on_dead_letter,
        parked_limit: settings.parked_limit,
        ..ConsumerSettings::new(&settings.kafka, SERVICE, topics)
    };
    Consumer::new(
        settings,
        pool.clone(),
        codec.clone(),
        VERSION,
        Replies::new(outbox),
    )
}

fn server(
    settings: &Settings,
    telemetry: telemetry::Telemetry,
    app: App,
    codec: Codec,
    consumer: ConsumerHealth,
) -> Server {
    let pool = app.pool.clone();
    let parking = Parking::new(pool.clone(), SERVICE);
    let routes = routes(app).merge(consumer_desk::routes(parking, &settings.token));
    Server::new(SERVICE, VERSION, telemetry, routes)
        .request_timeout(settings.wait_max() + REQUEST_MARGIN)
        .check("database", move || {
            let pool = pool.clone();
            async move { sqlx::query("select 1").execute(&pool).await.map(|_| ()) }
        })
        // Orders are accepted and kept while Kafka is away; they go on when it is back.
        .check_optional("kafka", move || {
            let consumer = consumer.clone();
            async move { consumer.check() }
        })
        .check_optional("schema_registry", move || {
            let codec = codec.clone();
            async move { codec.registry().ping().await }
        })
}
