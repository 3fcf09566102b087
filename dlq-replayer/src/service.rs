//! The running service: index, API and housekeeping, side by side until told to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use http_kit::server::Bound;
use http_kit::{Server, service};
use oncebox::Codec;
use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::{self, App};
use crate::handlers::Indexer;
use crate::housekeeping;
use crate::inspect::Inspector;
use crate::settings::Settings;
use crate::store;

/// Name of the service, in logs, metrics and answers.
pub const NAME: &str = "dlq-replayer";
/// Its version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A replayer that holds its address and has begun to index.
#[derive(Debug)]
pub struct Running {
    bound: Bound,
    tasks: Vec<JoinHandle<()>>,
    pool: PgPool,
    shutdown: CancellationToken,
}

/// Brings the database to this version, then returns.
///
/// # Errors
/// A database that cannot be reached, or is of a newer version.
pub async fn migrate(settings: &Settings) -> anyhow::Result<()> {
    let pool = service::connect(&settings.database_url, settings.database_connections).await?;
    prepare(&pool).await
}

async fn prepare(pool: &PgPool) -> anyhow::Result<()> {
    store::migrate(pool)
        .await
        .context("the database could not be brought to this version")
}

/// Runs until `shutdown` is cancelled, then finishes the requests in hand and leaves the consumer group.
///
/// # Errors
/// What keeps it from starting: the database, the address, the configuration. Later outages are waited for.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> anyhow::Result<()> {
    start(settings, shutdown).await?.wait().await
}

/// Starts everything but answering requests, which [`Running::wait`] does.
///
/// # Errors
/// As for [`run`].
pub async fn start(settings: Settings, shutdown: CancellationToken) -> anyhow::Result<Running> {
    let telemetry = telemetry::init(NAME, VERSION, settings.log_format, &settings.log_filter)?;
    let pool = service::connect(&settings.database_url, settings.database_connections).await?;
    prepare(&pool).await?;
    if settings.token.is_empty() {
        tracing::warn!("no token is configured (token, ONCEBOX_TOKEN): the api lets nobody in");
    }
    let inspector = Inspector::new(
        &settings.kafka,
        settings.kafka_timeout(),
        &settings.kafka_properties,
    )?;
    let codec = Codec::new(&settings.schema_registry, Some(pool.clone()))?;
    let app = Arc::new(App {
        pool: pool.clone(),
        inspector: inspector.clone(),
        codec: codec.clone(),
        read_time_limit: settings.read_time_limit(),
    });
    let database = pool.clone();
    let bound = Server::new(NAME, VERSION, telemetry, api::routes(app, &settings.token))
        .check("database", move || {
            let database = database.clone();
            async move { sqlx::query("select 1").execute(&database).await.map(|_| ()) }
        })
        // Without these the index can still be read, and values are shown as bytes.
        .check_optional("kafka", move || {
            let inspector = inspector.clone();
            async move { inspector.ping().await }
        })
        .check_optional("schema_registry", move || {
            let codec = codec.clone();
            async move { codec.registry().ping().await }
        })
        .bind(&settings.http_address, shutdown.clone())
        .await?;

    let tasks = vec![
        tokio::spawn(Indexer::new(&settings, pool.clone()).run(shutdown.clone())),
        tokio::spawn(housekeeping::run(
            pool.clone(),
            settings.retention_days,
            shutdown.clone(),
        )),
    ];
    Ok(Running {
        bound,
        tasks,
        pool,
        shutdown,
    })
}

impl Running {
    /// Where it listens, with the real port when port 0 was asked for.
    ///
    /// # Errors
    /// What the operating system says, should the socket be gone.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.bound.local_addr()
    }

    /// Answers requests until the shutdown.
    ///
    /// # Errors
    /// When the listener breaks, or a part of the service ended that should not have.
    pub async fn wait(self) -> anyhow::Result<()> {
        let served = self.bound.serve().await;
        // A listener that breaks must not leave the rest running behind a dead door.
        self.shutdown.cancel();
        for task in self.tasks {
            task.await
                .context("a part of the service ended unexpectedly")?;
        }
        self.pool.close().await;
        served.map_err(Into::into)
    }
}
