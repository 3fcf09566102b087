//! Measures what waits and keeps the cursor's copy in the database, apart from publishing, so that neither costs
//! a published row any time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cursor::Cursor;
use crate::happening::Measured;
use crate::source::{Source, SourceError};
use crate::state::Shared;

const INTERVAL: Duration = Duration::from_secs(2);

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
        let cursor = cursors.borrow_and_update().clone();
        if let Some(cursor) = cursor
            && let Err(error) = measure(&name, &mut source, &cursor, &mut copied, &shared).await
        {
            tracing::debug!(source = name, %error, "backlog not measured");
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

async fn measure(
    name: &str,
    source: &mut impl Source,
    cursor: &Cursor,
    copied: &mut Option<Cursor>,
    shared: &Shared,
) -> Result<(), SourceError> {
    let backlog = source.backlog(cursor).await?;
    shared.update(|status| {
        status.pending_rows = backlog.rows;
        status.oldest_pending_seconds = backlog.oldest_seconds;
    });
    telemetry::emit(Measured {
        source: name,
        backlog,
    });
    // Writing the copy uses a transaction id, and so moves the snapshot: without this test an idle relay would
    // find a new cursor to copy for ever.
    let moved = copied.as_ref().is_none_or(|last| {
        cursor.settled.xmax() > last.settled.xmax() + 1 || cursor.window != last.window
    });
    if moved {
        source.keep_copy(cursor).await?;
        *copied = Some(cursor.clone());
    }
    Ok(())
}
