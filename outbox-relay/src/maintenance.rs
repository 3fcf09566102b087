//! Keeps an outbox from growing: partitions are made ahead, and dropped when everything in them is published and the
//! retention is over. Apart from publishing, so that neither waits for the other.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cursor::Cursor;
use crate::happening::{MaintenanceDone, MaintenanceFailed};
use crate::source::Source;

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

/// Maintains one source until asked to stop.
///
/// The cursor decides what is published. It may be a little ahead of the one in Kafka, which moves with records alone:
/// between the two lie transactions that wrote no row to the outbox, so that both see the same rows. After this relay
/// has lost the source it is behind, and fewer partitions count as passed.
pub(crate) async fn maintain(
    name: String,
    mut source: impl Source,
    mut cursors: watch::Receiver<Option<Cursor>>,
    upkeep: Upkeep,
    shutdown: CancellationToken,
) {
    let mut failing = false;
    loop {
        let cursor = cursors.borrow_and_update().clone();
        let mut pause = upkeep.interval;
        match cursor {
            // Until the cursor is read back from Kafka nothing is known to be published.
            None => pause = pause.min(BUSY_PAUSE),
            Some(cursor) => match source.maintain(&cursor, upkeep).await {
                Ok(maintained) => {
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
                    telemetry::emit(MaintenanceFailed {
                        source: &name,
                        error: &error.to_string(),
                        first: !failing,
                    });
                    failing = true;
                }
            },
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => return,
        }
    }
}
