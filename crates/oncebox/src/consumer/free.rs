//! Records of event types that need no order: each goes its own way in a transaction of its own, several at a time, beside
//! the others of the partition.
//!
//! The offset follows the finished prefix, so what ends behind one that is slow comes again after a crash, and the inbox
//! recognises it. Two copies of one event that are under way at once meet in the inbox: the second waits for the first.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use telemetry::emit;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::{JoinError, JoinSet};

use super::batch::{Chunk, only_failure};
use super::happening::RetryScheduled;
use super::partition::Partition;
use super::tenure::Tenure;
use super::transaction::{Judged, Origin, Try, Uncommitted, Verdict};
use super::waiting::{Stopped, Waiting};
use super::worker::{Handling, wait_for_room};
use crate::failure::Failure;
use crate::flood::guard::{Permit, Ruling, Side};
use crate::handler::BatchHandler;
use crate::parking::Lane;
use crate::parking::decide::{Next, after_failure};
use crate::record::Delivery;

/// Between looks whether the flood guard has opened.
const PERMIT_WAIT: Duration = Duration::from_millis(100);

/// A partition's records that go their own way.
pub(super) struct Free<H: BatchHandler> {
    shared: Arc<Shared<H>>,
    tasks: JoinSet<()>,
}

struct Shared<H> {
    handling: Arc<Handling<H>>,
    tenure: Arc<Tenure>,
    partition: Arc<Partition>,
    replayed: bool,
    slots: Semaphore,
    /// One for all: what is away is tried by one of them at a time.
    waiting: Mutex<Waiting>,
    /// Held by the one that probes while the flood guard is closed.
    probe: Mutex<()>,
}

impl<H: BatchHandler> Free<H> {
    pub(super) fn new(
        handling: Arc<Handling<H>>,
        tenure: Arc<Tenure>,
        partition: Arc<Partition>,
        replayed: bool,
        waiting: Waiting,
    ) -> Self {
        let slots = Semaphore::new(handling.settings.order_free_at_once.max(1));
        Self {
            shared: Arc::new(Shared {
                handling,
                tenure,
                partition,
                replayed,
                slots,
                waiting: Mutex::new(waiting),
                probe: Mutex::new(()),
            }),
            tasks: JoinSet::new(),
        }
    }

    /// Takes the records out of the chunk that need no order, and lets each go its way.
    pub(super) fn take(&mut self, chunk: &mut Chunk<H::Message>, demanded: bool) {
        let handler = &self.shared.handling.handler;
        let free = |delivery: &Delivery<H::Message>| handler.order_free(&delivery.message);
        if !chunk.deliveries.iter().any(free) {
            return;
        }
        let all = std::mem::take(&mut chunk.deliveries);
        let (free, ordered): (Vec<_>, Vec<_>) = all.into_iter().partition(free);
        chunk.deliveries = ordered;
        for delivery in free {
            if demanded {
                chunk.pass(&delivery.record);
            }
            // All of them before anything behind them is finished.
            self.shared.partition.begin(delivery.record.offset);
            let shared = Arc::clone(&self.shared);
            self.tasks.spawn(async move {
                // Stopped: it comes again.
                let _: Result<(), Stopped> = shared.see_through(delivery).await;
            });
        }
    }

    pub(super) fn busy(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// Waits until one has ended.
    pub(super) async fn reap(&mut self) {
        if let Some(ended) = self.tasks.join_next().await {
            fail_with(ended);
        }
    }

    /// Waits until all that were taken are under way, so that no more than one batch of them ever waits.
    pub(super) async fn make_room(&mut self) {
        while self.tasks.len() > self.shared.handling.settings.order_free_at_once.max(1) {
            if let Some(ended) = self.tasks.join_next().await {
                fail_with(ended);
            }
        }
    }

    /// Waits until those that are under way have ended, after the partition was asked to.
    pub(super) async fn end(mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            fail_with(ended);
        }
    }
}

/// A mistake in this kit ends the partition's task, as it does everywhere.
fn fail_with(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

impl<H: BatchHandler> Shared<H> {
    /// Processes, parks or dead-letters one record.
    async fn see_through(&self, delivery: Delivery<H::Message>) -> Result<(), Stopped> {
        let _slot = tokio::select! {
            biased;
            () = self.partition.stop.cancelled() => return Err(Stopped),
            slot = self.slots.acquire() => slot,
        };
        let offset = delivery.record.offset;
        let lane = Lane::alone(&delivery.record);
        let mut chunk = Chunk::alone(delivery);
        if self.tenure.lanes().contains(&lane) {
            // Parked before a crash, and delivered again.
            chunk.aside = std::mem::take(&mut chunk.deliveries);
            self.commit_pinned(lane, &mut chunk, None).await?;
        } else if let Some((failure, ruling)) = self.attempt(&mut chunk).await? {
            self.failed(lane, &mut chunk, failure, ruling).await?;
        }
        self.waiting.lock().await.outage_over();
        self.partition.end(offset);
        Ok(())
    }

    /// One attempt, repeated while something is away; none when it is committed.
    async fn attempt(
        &self,
        chunk: &mut Chunk<H::Message>,
    ) -> Result<Option<(Failure, Ruling)>, Stopped> {
        let guard = &self.tenure.guard;
        let mut turn = None;
        loop {
            self.waiting.lock().await.go_on()?;
            match guard.permit(Side::Free, 1) {
                Permit::Go => turn = None,
                Permit::Wait(time) => {
                    turn = None;
                    tokio::select! {
                        biased;
                        () = self.partition.stop.cancelled() => return Err(Stopped),
                        () = tokio::time::sleep(time.min(PERMIT_WAIT)) => continue,
                    }
                }
                Permit::Probe | Permit::OneOnly if turn.is_none() => {
                    turn = Some(self.probe.lock().await);
                    continue;
                }
                Permit::Probe | Permit::OneOnly => {}
            }
            match self.commit(chunk, None).await {
                Ok(()) => return Ok(None),
                Err(Uncommitted::Handler(failure)) => {
                    let failure = only_failure(failure);
                    let Some(delivery) = chunk.deliveries.first() else {
                        return Ok(None);
                    };
                    let policy = &self.handling.settings.retry;
                    let last = after_failure(policy, failure.class, 1, true) == Next::Bury;
                    match guard.failed(Side::Free, &delivery.record, &failure, last) {
                        Ruling::Stay => {}
                        ruling => return Ok(Some((failure, ruling))),
                    }
                }
                Err(uncommitted) => self.wait_out(uncommitted).await?,
            }
        }
    }

    /// The record alone is parked or dead-lettered. It is not tried again at once: in the parking it holds up nothing.
    async fn failed(
        &self,
        lane: Lane,
        chunk: &mut Chunk<H::Message>,
        failure: Failure,
        ruling: Ruling,
    ) -> Result<(), Stopped> {
        let policy = &self.handling.settings.retry;
        let attempts = u32::from(ruling != Ruling::PutOff);
        let delay = match after_failure(policy, failure.class, 1, true) {
            _ if ruling == Ruling::PutOff => Some(policy.delay_put_off(0)),
            Next::Bury => None,
            Next::Park(delay) => Some(delay),
            Next::Again => Some(policy.delay_after(1)),
        };
        if let (Some(delay), Some(delivery)) = (delay, chunk.deliveries.first()) {
            emit(RetryScheduled {
                group: &self.handling.settings.group,
                record: &delivery.record,
                failure: &failure,
                attempts,
                delay,
            });
        }
        let judged = Judged {
            failure,
            attempts,
            first_failed_at: Utc::now(),
        };
        match delay {
            Some(delay) => {
                self.room().await?;
                let verdict = Verdict::Park(judged, delay);
                self.commit_pinned(lane, chunk, Some(&verdict)).await
            }
            None => {
                self.commit_surely(chunk, Some(&Verdict::Bury(judged)))
                    .await
            }
        }
    }

    async fn room(&self) -> Result<(), Stopped> {
        let limit = self.handling.settings.parked_limit;
        wait_for_room(limit, &self.tenure, &*self.waiting.lock().await).await
    }

    /// The lane is known before the transaction commits, and stays so.
    async fn commit_pinned(
        &self,
        lane: Lane,
        chunk: &mut Chunk<H::Message>,
        verdict: Option<&Verdict>,
    ) -> Result<(), Stopped> {
        self.tenure.lanes().pin(lane);
        let committed = self.commit_surely(chunk, verdict).await;
        self.tenure.lanes().unpin(&lane);
        committed
    }

    /// Commits what calls no handler.
    async fn commit_surely(
        &self,
        chunk: &mut Chunk<H::Message>,
        verdict: Option<&Verdict>,
    ) -> Result<(), Stopped> {
        loop {
            match self.commit(chunk, verdict).await {
                Ok(()) => return Ok(()),
                Err(uncommitted) => self.wait_out(uncommitted).await?,
            }
        }
    }

    async fn commit(
        &self,
        chunk: &mut Chunk<H::Message>,
        verdict: Option<&Verdict>,
    ) -> Result<(), Uncommitted> {
        let attempt = Try {
            handling: &self.handling,
            tenure: &self.tenure,
            replayed: self.replayed,
            origin: Origin::Alone,
        };
        attempt.commit(chunk, verdict).await.map(|_| ())
    }

    async fn wait_out(&self, uncommitted: Uncommitted) -> Result<(), Stopped> {
        let mut waiting = self.waiting.lock().await;
        match uncommitted {
            Uncommitted::Kit(failure) => waiting.wait_out(&failure).await,
            Uncommitted::Superseded => Err(waiting.superseded().await),
            Uncommitted::Handler(failure) => waiting.wait_out(&only_failure(failure)).await,
            Uncommitted::Moved => waiting.sleep(Duration::ZERO).await,
        }
    }
}
