//! Puts the service together and runs it until it is told to stop.

use anyhow::Context;
use http_kit::Server;
use http_kit::service::{self, Running};
use oncebox::{
    Codec, CodecError, Consumer, ConsumerHealth, ConsumerSettings, Event, Outbox, Parking,
};
use schemas::inventory::{
    ReserveStock, StockCommitted, StockRejected, StockReleased, StockReserved,
};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::api::{App, routes};
use crate::handlers::Commands;
use crate::settings::Settings;
use crate::store;

/// The service's name: of its binary, its consumer group and the source of its events.
pub const SERVICE: &str = "inventory";
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
/// Whatever keeps it from starting, or the part that failed. Commands in hand come again at the next start.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> anyhow::Result<()> {
    start(settings, shutdown).await?.finished().await
}

/// Starts the service and returns when it takes requests; [`run`] is this and [`Running::finished`].
///
/// # Errors
/// Whatever keeps it from starting.
pub async fn start(settings: Settings, shutdown: CancellationToken) -> anyhow::Result<Running> {
    let telemetry = telemetry::init(SERVICE, VERSION, settings.log_format, &settings.log_filter)?;
    let pool = service::connect(&settings.database_url, settings.database_connections).await?;
    prepare(&pool).await?;
    let codec = Codec::new(&settings.schema_registry, Some(pool.clone()))?;
    if let Err(error) = learn_schemas(&codec).await {
        // It may run for days on what the database remembers; only the first start ever needs the registry.
        tracing::warn!(%error, "schemas not learned, asking again with the first event of each type");
    }
    // One token for all parts: the first that ends, whyever, ends the others in good order.
    let stop = shutdown.child_token();
    let consumer = consumer(&settings, &pool, &codec);
    let server = server(&settings, telemetry, pool.clone(), codec, consumer.health());
    let bound = server.bind(&settings.http_address, stop.clone()).await?;
    let mut running = Running::serving(bound, pool.clone(), stop.clone())?;
    let consuming = consumer.run(stop.clone());
    running.part(async move { consuming.await.context("the Kafka consumer failed") });
    running.part(async move {
        oncebox::migrations::keep_partitions_ahead(pool, stop).await;
        Ok(())
    });
    Ok(running)
}

async fn prepare(pool: &PgPool) -> anyhow::Result<()> {
    store::migrate(pool)
        .await
        .context("the database could not be brought to this version")
}

/// Asks for the id of every schema that this service writes, so that a registry which goes away later is not missed.
async fn learn_schemas(codec: &Codec) -> Result<(), CodecError> {
    codec.schema_id::<StockReserved>().await?;
    codec.schema_id::<StockRejected>().await?;
    codec.schema_id::<StockCommitted>().await?;
    codec.schema_id::<StockReleased>().await?;
    Ok(())
}

/// The group `inventory`, which carries out commands.
fn consumer(settings: &Settings, pool: &PgPool, codec: &Codec) -> Consumer<Commands> {
    let outbox = Outbox::new(codec.clone(), SERVICE, &settings.topic_prefix);
    let consumer = ConsumerSettings {
        topic_prefix: settings.topic_prefix.clone(),
        retry: settings.retry,
        flood: settings.flood,
        on_dead_letter: settings.on_dead_letter,
        parked_limit: settings.parked_limit,
        batch_max_records: settings.batch_max_records.max(1),
        ..ConsumerSettings::new(&settings.kafka, SERVICE, [ReserveStock::TOPIC])
    };
    let handler = Commands::new(outbox);
    Consumer::new(consumer, pool.clone(), codec.clone(), VERSION, handler)
}

fn server(
    settings: &Settings,
    telemetry: telemetry::Telemetry,
    pool: PgPool,
    codec: Codec,
    consumer: ConsumerHealth,
) -> Server {
    let app = App { pool: pool.clone() };
    let parking = Parking::new(pool.clone(), SERVICE);
    let routes = routes(app).merge(consumer_desk::routes(parking, &settings.token));
    Server::new(SERVICE, VERSION, telemetry, routes)
        .check("database", move || {
            let pool = pool.clone();
            async move { sqlx::query("select 1").execute(&pool).await.map(|_| ()) }
        })
        // Stock can be looked at and counted while Kafka is away; commands wait in their topic.
        .check_optional("kafka", move || {
            let consumer = consumer.clone();
            async move { consumer.check() }
        })
        .check_optional("schema_registry", move || {
            let codec = codec.clone();
            async move { codec.registry().ping().await }
        })
}
