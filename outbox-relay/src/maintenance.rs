//! Keeps an outbox from growing: partitions are made ahead, and dropped when everything in them is published and the
//! retention is over. Apart from publishing, so that neither waits for the other.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::cursor::Cursor;
use crate::happening::{MaintenanceDone, MaintenanceFailed};
use crate::shard::Shard;
use crate::source::{Maintained, Source, SourceError};
use crate::state::{Shards, Shared, Status};

/// When somebody holds a lock: soon again, and not at once.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// How and how often.
#[derive(Debug, Clone, Copy)]
pub struct Upkeep {
    /// How long published rows stay after their day.
    pub retention: Duration,
    /// Pause between two rounds.
    pub interval: Duration,
    /// How long skipped rows stay.
    pub keep_dead: Duration,
}

/// Maintains one source until asked to stop, while this relay publishes its first shard.
///
/// The cursors decide what is published. They may be a little ahead of those in Kafka, which move with records alone:
/// between the two lie transactions that wrote no row to the outbox, so that both see the same rows. Where another relay
/// publishes a shard its copy counts, which is behind; fewer partitions are passed then.
pub(crate) async fn maintain(
    name: String,
    mut source: impl Source,
    shards: Arc<Shards>,
    upkeep: Upkeep,
    shutdown: CancellationToken,
) {
    let mut failing = false;
    loop {
        let mut pause = upkeep.interval;
        match round(&mut source, &shards.list(), upkeep).await {
            // Until the cursor is read back from Kafka nothing is known to be published.
            Ok(None) => pause = pause.min(BUSY_PAUSE),
            Ok(Some(maintained)) => {
                failing = false;
                if maintained.busy {
                    pause = pause.min(BUSY_PAUSE);
                }
                telemetry::emit(MaintenanceDone {
                    source: &name,
                    maintained: &maintained,
                });
            }
            Err(error) => {
                if matches!(error, SourceError::Swapped { .. }) {
                    // Whether that is right, whoever publishes decides.
                    source.forget_identity();
                }
                telemetry::emit(MaintenanceFailed {
                    source: &name,
                    error: &error.to_string(),
                    first: !failing,
                });
                failing = true;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// One round; none where it is not this relay's, or not known what is published.
async fn round(
    source: &mut impl Source,
    shards: &[Arc<Shared>],
    upkeep: Upkeep,
) -> Result<Option<Maintained>, SourceError> {
    let Some(mut settled) = shards
        .first()
        .and_then(|first| first.place())
        .map(|cursor| cursor.settled)
    else {
        return Ok(None);
    };
    for shared in shards.iter().skip(1) {
        let cursor = match shared.place() {
            Some(cursor) => Some(cursor),
            None => copy(source, &shared.status()).await?,
        };
        match cursor {
            Some(cursor) => settled = settled.in_common(&cursor.settled),
            None => return Ok(None),
        }
    }
    source.maintain(&settled, upkeep).await.map(Some)
}

async fn copy(source: &mut impl Source, shard: &Status) -> Result<Option<Cursor>, SourceError> {
    let Some(shard) = Shard::of(shard.shard, shard.shards) else {
        return Ok(None);
    };
    source.look_at(shard);
    let copy = source.copied_cursor().await?;
    Ok(copy.map(|(cursor, _)| cursor))
}
