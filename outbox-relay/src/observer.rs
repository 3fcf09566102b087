//! Measures what waits and keeps the cursors' copies in the database, apart from publishing, so that neither costs
//! a published row any time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::cursor::Cursor;
use crate::failpoint::{self, Point};
use crate::happening::{Measured, ShardsSeen, StateSeen};
use crate::shard::Shard;
use crate::source::{Backlog, Parkings, Source, SourceError};
use crate::state::{Shards, Shared, State, Status};

const INTERVAL: Duration = Duration::from_secs(2);

/// A shard that runs and had nothing to publish at the last look is measured at every so many looks.
const QUIET_LOOKS: u32 = 4;

/// The copy is written again after this even when nothing was published, for it keeps old partitions from being dropped.
const COPY_AT_LEAST: Duration = Duration::from_secs(60);

/// Observes one source until asked to stop. A database that is away is the instances' business to tell.
pub(crate) async fn observe(
    name: String,
    source: impl Source,
    shards: Arc<Shards>,
    shutdown: CancellationToken,
) {
    let mut observer = Observer {
        name,
        source,
        observed: BTreeMap::new(),
        before: 0,
    };
    loop {
        observer.look(&shards.list()).await;
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

struct Observer<S> {
    name: String,
    source: S,
    /// What was seen of the shards that this relay publishes.
    observed: BTreeMap<u16, Observed>,
    /// How many shards there were at the last look.
    before: usize,
}

/// A shard that is measured, and the copy of its cursor that was written last.
#[derive(Default)]
struct Observed {
    copied: Option<Copied>,
    /// Rows that were published when it was measured last, if nothing waited then.
    quiet_at: Option<u64>,
    /// Looks since then.
    looks: u32,
}

struct Copied {
    cursor: Cursor,
    published_rows: u64,
    at: Instant,
}

impl<S: Source> Observer<S> {
    async fn look(&mut self, shards: &[Arc<Shared>]) {
        telemetry::emit(ShardsSeen {
            source: &self.name,
            shards: shards.len(),
            before: std::mem::replace(&mut self.before, shards.len()),
        });
        for shared in shards {
            let status = shared.status();
            telemetry::emit(StateSeen {
                source: &self.name,
                shard: status.shard,
                state: &status.state,
            });
            match shared.place() {
                Some(_) if self.is_quiet(&status) => {}
                Some(cursor) => {
                    if let Err(error) = self.observe(shared, cursor, status.published_rows).await {
                        self.failed(&error);
                    }
                }
                None => self.forget(shared),
            }
        }
        let count = shards.len();
        self.observed.retain(|shard, _| usize::from(*shard) < count);
    }

    async fn observe(
        &mut self,
        shared: &Shared,
        cursor: Cursor,
        published_rows: u64,
    ) -> Result<(), SourceError> {
        let status = shared.status();
        if let Some(shard) = Shard::of(status.shard, status.shards) {
            self.source.look_at(shard);
        }
        let backlog = self.source.backlog(&cursor).await?;
        let parked = match self.source.parkings().await {
            Err(error) if error.is_absent() => Parkings::default(),
            parked => parked?,
        };
        self.measured(shared, backlog, parked);
        let observed = self.observed.entry(status.shard).or_default();
        let nothing = backlog.rows == 0 && parked == Parkings::default();
        observed.quiet_at = nothing.then_some(published_rows);
        observed.looks = 0;
        if observed.is_copy_due(&cursor, published_rows) {
            failpoint::hit(Point::CopyBefore);
            self.source.keep_copy(&cursor).await?;
            failpoint::hit(Point::CopyAfter);
            observed.copied = Some(Copied {
                cursor,
                published_rows,
                at: Instant::now(),
            });
        }
        Ok(())
    }

    /// Whether there is nothing new to measure: what an idle source costs is for the most part being asked.
    fn is_quiet(&mut self, status: &Status) -> bool {
        let Some(observed) = self.observed.get_mut(&status.shard) else {
            return false;
        };
        observed.looks += 1;
        status.state == State::Running
            && observed.quiet_at == Some(status.published_rows)
            && observed.looks < QUIET_LOOKS
    }

    /// Another relay has the shard now, and measures it.
    fn forget(&mut self, shared: &Shared) {
        if self.observed.remove(&shared.status().shard).is_some() {
            self.measured(shared, Backlog::NOTHING, Parkings::default());
        }
    }

    fn measured(&self, shared: &Shared, backlog: Backlog, parked: Parkings) {
        shared.update(|status| {
            status.parked = parked;
            status.pending_rows = backlog.rows;
            status.oldest_pending_seconds = backlog.oldest_seconds;
        });
        let status = shared.status();
        telemetry::emit(Measured {
            source: &self.name,
            shard: status.shard,
            backlog,
            parked,
            blocked_keys: status.blocked_keys,
        });
    }

    fn failed(&mut self, error: &SourceError) {
        if matches!(error, SourceError::Swapped { .. }) {
            // Whether that is right, whoever publishes decides.
            self.source.forget_identity();
        }
        tracing::debug!(source = self.name, %error, "backlog not measured");
    }
}

impl Observed {
    /// Writing a copy takes a transaction id and so moves the snapshot of every database of the cluster: whoever copied
    /// each move would find a new one for ever, and idle relays would keep each other awake.
    fn is_copy_due(&self, cursor: &Cursor, published_rows: u64) -> bool {
        self.copied.as_ref().is_none_or(|last| {
            last.published_rows != published_rows
                || (last.cursor != *cursor && last.at.elapsed() > COPY_AT_LEAST)
        })
    }
}
