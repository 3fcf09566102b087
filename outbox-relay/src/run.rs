//! Puts the relay together and runs it until it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use http_kit::Server;
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;
use crate::state::{Shards, Shared, State};
use crate::{Relay, api, metric};

/// The name of the binary.
pub const SERVICE: &str = "outbox-relay";
/// The version that is running.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs the relay until `shutdown` is cancelled. The transaction in hand is finished first, within `shutdown_seconds`.
///
/// # Errors
/// Whatever keeps it from starting. A source that fails later is told by health and log, and does not end the others.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> anyhow::Result<()> {
    let telemetry = telemetry::init(SERVICE, VERSION, settings.log_format, &settings.log_filter)?;
    metric::describe();
    ensure!(
        !settings.sources.is_empty(),
        "no source is configured; name at least one database, for example ONCEBOX_SOURCES__ORDER=postgres://relay@127.0.0.1:5433/oncebox_order"
    );
    let address = settings.http_address.clone();
    let deadline = Duration::from_secs(settings.shutdown_seconds);
    let token = settings.token.clone();
    let mut relay = Relay::start(settings, &shutdown)
        .context("a source's address is not a PostgreSQL address")?;
    let sources = relay.sources();
    let desks = Arc::new(relay.take_desks());
    let mut server = Server::new(SERVICE, VERSION, telemetry, api::routes(desks, &token));
    for source in sources {
        let name = source.name().to_owned();
        // The name lives as long as the process; there is one for each configured source.
        server = server.check(Box::leak(name.into_boxed_str()), move || {
            let healthy = health(&source);
            async move { healthy }
        });
    }
    let stop = shutdown.clone();
    let served = server.bind(&address, shutdown).await?.serve().await;
    stop.cancel();
    match tokio::time::timeout(deadline, relay.ended()).await {
        Ok(()) => tracing::info!("stopped"),
        // The broker is away: it aborts what is open by itself, or the next start does.
        Err(_) => tracing::warn!(
            deadline_seconds = deadline.as_secs(),
            "stopped with a transaction in hand, which will be aborted"
        ),
    }
    served.map_err(Into::into)
}

/// A source that only a person can help, or that waits for something, is not ready.
fn health(source: &Shards) -> Result<(), Unready> {
    source
        .list()
        .iter()
        .try_for_each(|shard| shard_health(shard))
}

fn shard_health(shard: &Shared) -> Result<(), Unready> {
    match shard.status().state {
        // A relay that stands by is as well as it can be.
        State::Running | State::Standby(_) => Ok(()),
        State::Starting => Err(Unready("taking over from a predecessor".into())),
        State::Waiting(reason) | State::Refused(reason) | State::Stopped(reason) => {
            Err(Unready(reason))
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unready(String);
