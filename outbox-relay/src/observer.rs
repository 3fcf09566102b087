//! Measures what waits and keeps the cursor's copy in the database, apart from publishing, so that neither costs
//! a published row any time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cursor::Cursor;
use crate::failpoint::{self, Point};
use crate::happening::{Measured, StateSeen};
use crate::source::{Parkings, Source, SourceError};
use crate::state::Shared;

const INTERVAL: Duration = Duration::from_secs(2);

/// The copy is written again after this even when nothing was published, for it keeps old partitions from being dropped.
const COPY_AT_LEAST: Duration = Duration::from_secs(60);

/// Observes one source until asked to stop. A database that is away is the instance's business to tell.
pub(crate) async fn observe(
    name: String,
    mut source: impl Source,
    mut cursors: watch::Receiver<Option<Cursor>>,
    shared: Arc<Shared>,
    shutdown: CancellationToken,
) {
    let mut copied = None;
    loop {
        telemetry::emit(StateSeen {
            source: &name,
            state: &shared.status().state,
        });
        let cursor = cursors.borrow_and_update().clone();
        if let Some(cursor) = cursor
            && let Err(error) = observe_once(&name, &mut source, cursor, &mut copied, &shared).await
        {
            tracing::debug!(source = name, %error, "backlog not measured");
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// The copy that was written last.
struct Copied {
    cursor: Cursor,
    published_rows: u64,
    at: Instant,
}

async fn observe_once(
    name: &str,
    source: &mut impl Source,
    cursor: Cursor,
    copied: &mut Option<Copied>,
    shared: &Shared,
) -> Result<(), SourceError> {
    let backlog = source.backlog(&cursor).await?;
    let parked = match source.parkings().await {
        Err(error) if error.is_absent() => Parkings::default(),
        parked => parked?,
    };
    shared.update(|status| {
        status.parked = parked;
        status.pending_rows = backlog.rows;
        status.oldest_pending_seconds = backlog.oldest_seconds;
    });
    telemetry::emit(Measured {
        source: name,
        backlog,
        parked,
        blocked_keys: shared.status().blocked_keys,
    });
    let published_rows = shared.status().published_rows;
    // Writing a copy takes a transaction id and so moves the snapshot of every database of the cluster: whoever copied
    // each move would find a new one for ever, and idle relays would keep each other awake.
    let due = copied.as_ref().is_none_or(|last| {
        last.published_rows != published_rows
            || (last.cursor != cursor && last.at.elapsed() > COPY_AT_LEAST)
    });
    if due {
        failpoint::hit(Point::CopyBefore);
        source.keep_copy(&cursor).await?;
        failpoint::hit(Point::CopyAfter);
        *copied = Some(Copied {
            cursor,
            published_rows,
            at: Instant::now(),
        });
    }
    Ok(())
}
