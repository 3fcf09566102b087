//! Being woken by whoever writes to an outbox, so that rest may be long and latency short. Best effort: what is missed is
//! found by the next look.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio_util::sync::CancellationToken;

use oncebox::outbox::WAKE_CHANNEL;

use crate::state::Shards;

/// Where listening fails (a pooler that does not let it through, a database that is away) it is tried again after this.
const AGAIN: Duration = Duration::from_secs(15);

/// Listens until asked to stop.
pub(crate) async fn listen(
    name: String,
    url: String,
    shards: Arc<Shards>,
    shutdown: CancellationToken,
) {
    let listening = async {
        loop {
            if let Err(error) = listen_once(&url, &shards).await {
                tracing::debug!(source = name, %error, "not listening, looks are regular");
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::select! {
        () = listening => {}
        () = shutdown.cancelled() => {}
    }
}

async fn listen_once(url: &str, shards: &Shards) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect(url).await?;
    // A lost connection is an error here, not a silent new one every few milliseconds.
    listener.eager_reconnect(false);
    listener.listen(WAKE_CHANNEL).await?;
    while listener.try_recv().await?.is_some() {
        shards.wake();
    }
    Ok(())
}
