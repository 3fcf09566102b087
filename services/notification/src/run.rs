//! Puts the service together and runs it until it is told to stop.

use std::sync::Arc;

use anyhow::Context;
use futures::FutureExt;
use http_kit::{Server, health, service};
use lettre::message::Mailbox;
use oncebox::{
    Codec, CodecError, Consumer, ConsumerHealth, ConsumerSettings, Event, Outbox, Parking,
};
use schemas::notification::{NotificationFailed, NotificationSent};
use schemas::order::OrderConfirmed;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::api::{App, routes};
use crate::handlers::Notifications;
use crate::mailer::{self, Mailer};
use crate::settings::Settings;
use crate::store;

/// The service's name: of its binary, its consumer group and the source of its events.
pub const SERVICE: &str = "notification";
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
/// Whatever keeps it from starting, or the part that failed. What was sent until then is in the database.
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
    let mailer = mailer(&settings)?;
    let pool = service::connect(&settings.database_url, settings.database_connections).await?;
    prepare(&pool).await?;
    let codec = Codec::new(&settings.schema_registry, Some(pool.clone()))?;
    if let Err(error) = learn_schemas(&codec).await {
        // It may run for days on what the database remembers; only the first start ever needs the registry.
        tracing::warn!(%error, "schemas not learned, asking again with the first event of each type");
    }

    // One token for all parts: the first that ends, whyever, ends the others in good order.
    let stop = shutdown.child_token();
    let consumer = consumer(&settings, &pool, &codec, mailer.clone());
    let server = server(
        &settings,
        telemetry,
        pool.clone(),
        codec,
        consumer.health(),
        mailer,
    );
    let bound = server.bind(&settings.http_address, stop.clone()).await?;
    let mut running = service::Running::serving(bound, pool.clone(), stop.clone())?;
    let consuming = consumer.run(stop.clone());
    running.part(async move { consuming.await.context("the Kafka consumer failed") });
    running.part(oncebox::migrations::keep_partitions_ahead(pool, stop).map(Ok));
    Ok(running)
}

async fn prepare(pool: &PgPool) -> anyhow::Result<()> {
    store::migrate(pool)
        .await
        .context("the database could not be brought to this version")
}

/// The way to the mail server, or none where none is set.
fn mailer(settings: &Settings) -> anyhow::Result<Option<Arc<Mailer>>> {
    if settings.smtp_url.is_empty() {
        tracing::info!("smtp_url is not set: messages go to the log channel");
        return Ok(None);
    }
    let server = mailer::Server::parse(&settings.smtp_url)
        .context("the setting smtp_url (ONCEBOX_SMTP_URL) is no mail server")?;
    let from: Mailbox = settings.mail_from.parse().with_context(|| {
        format!(
            "the setting mail_from (ONCEBOX_MAIL_FROM) is {:?}, and no address such as \
             \"Shop <orders@shop.example>\"",
            settings.mail_from
        )
    })?;
    tracing::info!(%server, "messages go out by email");
    Ok(Some(Arc::new(Mailer::new(
        server,
        from,
        settings.smtp_timeout(),
    ))))
}

/// Asks for the id of every schema that this service writes, so that a registry which goes away later is not missed.
async fn learn_schemas(codec: &Codec) -> Result<(), CodecError> {
    codec.schema_id::<NotificationSent>().await?;
    codec.schema_id::<NotificationFailed>().await?;
    Ok(())
}

/// The group `notification`, which hears how orders end.
fn consumer(
    settings: &Settings,
    pool: &PgPool,
    codec: &Codec,
    mailer: Option<Arc<Mailer>>,
) -> Consumer<Notifications> {
    let outbox = Outbox::new(codec.clone(), SERVICE, &settings.topic_prefix);
    let handler = Notifications::new(
        pool.clone(),
        outbox,
        mailer,
        settings.smtp_connections(),
        settings.smtp_timeout(),
    );
    let settings = ConsumerSettings {
        topic_prefix: settings.topic_prefix.clone(),
        retry: settings.retry,
        flood: settings.flood,
        on_dead_letter: settings.on_dead_letter,
        parked_limit: settings.parked_limit,
        ..ConsumerSettings::new(&settings.kafka, SERVICE, [OrderConfirmed::TOPIC])
    };
    Consumer::new(settings, pool.clone(), codec.clone(), VERSION, handler)
}

fn server(
    settings: &Settings,
    telemetry: telemetry::Telemetry,
    pool: PgPool,
    codec: Codec,
    consumer: ConsumerHealth,
    mailer: Option<Arc<Mailer>>,
) -> Server {
    let app = App { pool: pool.clone() };
    let parking = Parking::new(pool.clone(), SERVICE);
    let routes = routes(app).merge(consumer_desk::routes(parking, &settings.token));
    let server = Server::new(SERVICE, VERSION, telemetry, routes)
        .check("database", health::database(pool))
        // What was sent can be looked up while these are away; records wait for them.
        .check_optional("kafka", move || {
            let consumer = consumer.clone();
            async move { consumer.check() }
        })
        .check_optional("schema_registry", move || {
            let codec = codec.clone();
            async move { codec.registry().ping().await }
        });
    match mailer {
        Some(mailer) => server.check_optional("mail_server", move || {
            let health = mailer.health();
            async move { health }
        }),
        None => server,
    }
}
