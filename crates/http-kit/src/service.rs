//! What every service's start and end have in common: a database that says clearly why it cannot be reached, and
//! parts that end together.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::server::Bound;

/// How long a request waits for a free connection before it is answered with 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects to the database at `url`, with at most so many connections (two at least).
///
/// # Errors
/// An address that is none, or a database that cannot be reached: named without its password, with the way out.
pub async fn connect(url: &str, connections: u32) -> anyhow::Result<PgPool> {
    let options: PgConnectOptions = url
        .parse()
        .context("the setting database_url is no PostgreSQL address")?;
    let database = options.get_database().unwrap_or_default();
    let place = format!(
        "{database:?} at {}:{}",
        options.get_host(),
        options.get_port()
    );
    // One connection before the pool: a pool repeats what fails until its timeout, and then says only that.
    let probe = PgConnection::connect_with(&options).await.with_context(|| {
        format!("the database {place} cannot be reached; is database_url (ONCEBOX_DATABASE_URL) right?")
    })?;
    probe.close().await?;
    PgPoolOptions::new()
        .max_connections(connections.max(2))
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options)
        .await
        .with_context(|| format!("no connection to the database {place}"))
}

/// The parts of a running service: the first that ends, whyever, ends the others in good order.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    pool: PgPool,
    stop: CancellationToken,
    parts: JoinSet<anyhow::Result<()>>,
}

impl Running {
    /// Begins with the HTTP server. `stop` is what the server was bound with, and what ends every part.
    ///
    /// # Errors
    /// When the operating system does not tell the bound address.
    pub fn serving(bound: Bound, pool: PgPool, stop: CancellationToken) -> anyhow::Result<Self> {
        let address = bound.local_addr()?;
        let mut parts = JoinSet::new();
        parts.spawn(async move { bound.serve().await.context("the HTTP server failed") });
        Ok(Self {
            address,
            pool,
            stop,
            parts,
        })
    }

    /// Adds a part that runs until the service stops.
    pub fn part(&mut self, part: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.parts.spawn(part);
    }

    /// Where it takes requests.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the service has stopped.
    ///
    /// # Errors
    /// The part that failed.
    pub async fn finished(mut self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        while let Some(ended) = self.parts.join_next().await {
            let ended = ended
                .context("a part of the service panicked")
                .and_then(|result| result);
            if !self.stop.is_cancelled() && ended.is_ok() {
                outcome = Err(anyhow::anyhow!("a part of the service ended unasked"));
            } else if outcome.is_ok() {
                outcome = ended;
            }
            self.stop.cancel();
        }
        self.pool.close().await;
        tracing::info!("stopped");
        outcome
    }
}

/// The end of `main`: a person reads this at a terminal, so it says what failed and why, without a backtrace.
pub fn exit(done: anyhow::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
