//! Changing a source as a whole: into how many shards it is divided, or where its cursors stand. By one relay, in whose
//! hands the whole source is meanwhile.
//!
//! To divide it anew, every shard is published up to one common snapshot, at which the new ones begin: so no row is
//! published by both or by neither, and no later row of a key before an earlier one. Until the database has the new layout the
//! old one holds: whatever fails before that, the relays go on as they were.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Coordinator, LOOK, Leases};
use crate::cursor::{Cursor, Snapshot};
use crate::failpoint::{self, Point};
use crate::instance::{End, Instance, Tenure};
use crate::process;
use crate::reset::{By, Reset};
use crate::shard::Shard;
use crate::source::{Source, SourceError};
use crate::takeover::{close, end};

/// The longest that another relay may take to end the transaction in hand.
const PATIENCE: Duration = Duration::from_secs(30);
/// A mark lasts ten seconds without a sign.
const SIGN: Duration = Duration::from_secs(2);

/// What is to be done with a source.
#[derive(Debug)]
pub(crate) enum Task {
    /// Put its cursors elsewhere.
    Reset(Reset),
    /// Divide it into so many shards.
    Divide(u16, By),
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset(reset) => write!(f, "cursor {}", reset.goal.name()),
            Self::Divide(shards, _) => write!(f, "shards {shards}"),
        }
    }
}

/// A task, and whom to answer: with the cursors at which the shards go on.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) task: Task,
    pub(crate) answer: oneshot::Sender<Result<Vec<Cursor>, String>>,
}

impl<S: Source> Coordinator<S> {
    pub(super) async fn carry_out(&mut self, order: Order) {
        let started = Instant::now();
        let done = self.change(&order.task).await;
        let task = order.task.to_string();
        match &done {
            Ok(_) => {
                // Whatever stopped a shard before is out of the way, or shows itself again.
                self.unfit.clear();
                tracing::info!(
                    source = self.name,
                    task,
                    duration_ms = started.elapsed().as_millis(),
                    "source changed"
                );
            }
            Err(error) => tracing::warn!(source = self.name, task, error, "source not changed"),
        }
        // Whoever asked may be gone.
        let _ = order.answer.send(done);
    }

    async fn change(&mut self, task: &Task) -> Result<Vec<Cursor>, String> {
        if matches!(task, Task::Reset(_)) {
            // It may be another database from now on.
            self.source.forget_identity();
        }
        let change = Uuid::now_v7();
        match self.source.mark(change, &self.tenant).await {
            Ok(true) => {}
            Ok(false) => {
                return Err("another relay is changing this source: wait until it is done".into());
            }
            Err(error) if error.is_absent() => {
                return Err(format!(
                    "the database cannot keep a layout ({error}): start the service's newer version, or run its migrate command"
                ));
            }
            Err(error) => return Err(error.to_string()),
        }
        failpoint::hit(Point::MarkAfter);
        let mut keeper = self.source.another(Shard::ONLY);
        let shutdown = self.shutdown.clone();
        let stopping = async {
            tokio::select! {
                () = keep(&mut keeper, change) => {}
                () = shutdown.cancelled() => {}
            }
        };
        let done = tokio::select! {
            done = self.change_under(change, task) => done,
            () = stopping => Err("the relay is stopping".into()),
        };
        if done.is_err()
            && let Err(error) = self.source.unmark(change).await
        {
            tracing::debug!(source = self.name, %error, "mark not taken away, it expires");
        }
        done
    }

    async fn change_under(&mut self, change: Uuid, task: &Task) -> Result<Vec<Cursor>, String> {
        self.recall_all().await;
        self.wait_for_others().await?;
        // As it stands under the mark.
        self.layout = self.source.layout().await.map_err(in_words)?;
        self.shards.divide(&self.layout);
        match task {
            Task::Reset(reset) => self.reset(change, reset).await,
            Task::Divide(shards, by) => self.divide(change, *shards, by).await,
        }
    }

    /// Until nobody publishes any more. Whoever does not look at marks is ended by the broker.
    async fn wait_for_others(&mut self) -> Result<(), String> {
        let started = Instant::now();
        while self.leases == Leases::Used {
            let roster = self.source.roster().await.map_err(in_words)?;
            let other = roster.leases.iter().find(|lease| {
                let dead = lease.expired || process::is_dead(&lease.holder);
                !dead && lease.owner != self.tenant.owner
            });
            match other {
                None => break,
                Some(lease) if started.elapsed() > PATIENCE => {
                    return Err(format!(
                        "{} still publishes shard {} after {PATIENCE:?}: see what it waits for",
                        lease.holder, lease.shard
                    ));
                }
                Some(_) => tokio::time::sleep(LOOK / 5).await,
            }
        }
        Ok(())
    }

    async fn reset(&mut self, change: Uuid, reset: &Reset) -> Result<Vec<Cursor>, String> {
        let identity = self.source.identity().await.map_err(in_words)?;
        let mut vacated = Vec::new();
        for shard in self.layout.shards() {
            let Some((publisher, last)) = self.seats.seat(self.layout.id, shard).vacate().await?
            else {
                continue;
            };
            if !last.released.is_empty() {
                let released = self.source.released(&last.released).await;
                released.map_err(in_words)?;
            }
            vacated.push((publisher, last));
        }
        let next = Uuid::now_v7();
        let cursors = self.source.reset(&identity, reset, (change, next)).await;
        for (publisher, last) in vacated {
            if cursors.is_ok() {
                end(&publisher, last, next).await;
            }
            close(publisher).await;
        }
        cursors.map_err(in_words)
    }

    async fn divide(&mut self, change: Uuid, into: u16, by: &By) -> Result<Vec<Cursor>, String> {
        if into == self.layout.shards {
            self.source.unmark(change).await.map_err(in_words)?;
            return Ok(Vec::new());
        }
        let (mut taken, next) = (Vec::new(), Uuid::now_v7());
        let divided = match self.drain(change, &mut taken).await {
            Err(error) => Err(error),
            Ok(beginning) => {
                let beginnings = vec![beginning; usize::from(into)];
                failpoint::hit(Point::DivideBefore);
                let divided = self.source.divide((change, next), &beginnings, by).await;
                failpoint::hit(Point::DivideAfter);
                divided.map(|()| beginnings).map_err(in_words)
            }
        };
        for (instance, tenure) in taken {
            instance.shared.put_place(None);
            if divided.is_ok() {
                tenure.end(next).await;
            }
            tenure.close().await;
        }
        divided
    }

    /// Takes every shard, and publishes them up to one snapshot; returns the cursor that stands there.
    async fn drain(
        &mut self,
        change: Uuid,
        taken: &mut Vec<(Instance<S>, Tenure)>,
    ) -> Result<Cursor, String> {
        for shard in self.layout.shards() {
            let stop = self.shutdown.child_token();
            if let Some(mut instance) = self.instance(shard.index(), Some(change), stop) {
                let tenure = instance.take().await.map_err(End::reason)?;
                taken.push((instance, tenure));
            }
        }
        failpoint::hit(Point::TakenAll);
        // Only now: no relay can have published anything by a younger snapshot.
        let until: Snapshot = self.source.snapshot().await.map_err(in_words)?;
        let mut last_seq = 0;
        for (instance, tenure) in taken.iter_mut() {
            let end = instance.drain(tenure, until.clone()).await;
            end.map_err(End::reason)?;
            let published = instance.shared.place().map_or(0, |cursor| cursor.last_seq);
            last_seq = last_seq.max(published).max(tenure.cursor().last_seq);
        }
        let (_, tenure) = taken.first().ok_or("the source has no shard")?;
        let identity = tenure.cursor().identity.clone();
        Ok(Cursor {
            last_seq,
            ..Cursor::beginning(identity).settled_at(until)
        })
    }
}

/// Keeps the mark. Where that fails nothing has to be done about it: the new layout begins only under the mark.
async fn keep(source: &mut impl Source, change: Uuid) {
    loop {
        tokio::time::sleep(SIGN).await;
        if let Err(error) = source.keep_mark(change).await {
            tracing::debug!(%error, "mark not kept, tried again");
        }
    }
}

fn in_words(error: SourceError) -> String {
    error.to_string()
}
