//! The task of one partition: takes the partition over, then sees every fetched record through, in order, while its
//! other half ([`Drain`]) tries parked ones again.

mod in_sequence;
mod judge;
mod old;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, mpsc};
use std::time::Duration;

pub(super) use judge::wait_for_room;
use sqlx::PgPool;
use telemetry::emit;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::batch::{Chunk, Decoded, decode, only_failure, whole_outage};
use super::drain::Drain;
use super::free::Free;
use super::group::StartTask;
use super::happening::LeftAlone;
use super::health::ConsumerHealth;
use super::noting;
use super::partition::{Partition, Task};
use super::settings::ConsumerSettings;
use super::tenure::Tenure;
use super::transaction::{Origin, Try, Uncommitted, Verdict};
use super::waiting::{Stopped, Waiting};
use crate::attempts::{self, Attempted};
use crate::codec::Codec;
use crate::dead_letter;
use crate::failure::{ErrorClass, Failure};
use crate::flood::guard::Side;
use crate::handler::BatchHandler;
use crate::inbox;
use crate::outbox::Outbox;
use crate::ownership::Place;
use crate::parking::{Lane, OnDeadLetter};
use crate::record::Record;
use old::old_ones;

/// How long a partition that is given away may take to say what it leaves.
const LEAVE_WAIT: Duration = Duration::from_secs(1);

/// What all partitions of a consumer share.
pub(super) struct Handling<H> {
    pub(super) settings: ConsumerSettings,
    pub(super) pool: PgPool,
    pub(super) codec: Codec,
    pub(super) outbox: Outbox,
    pub(super) version: String,
    pub(super) handler: H,
    pub(super) health: ConsumerHealth,
    /// Counts when a parked key was made due that may be another partition's.
    pub(super) woken: watch::Sender<u64>,
}

/// Makes the function that starts a partition's task. To be called inside the runtime that runs the tasks.
pub(super) fn starter<H: BatchHandler>(handling: Arc<Handling<H>>) -> StartTask {
    let runtime = Handle::current();
    Box::new(move |partition| {
        let (alive, gone) = mpsc::channel();
        let owning = own(Arc::clone(&handling), partition);
        let task = runtime.spawn(async move {
            let _alive = alive;
            let Stopped = owning.await;
        });
        Task {
            abort: task.abort_handle(),
            gone,
        }
    })
}

/// Owns a partition until it is asked to end: takes it over, then works for it from both sides.
async fn own<H: BatchHandler>(handling: Arc<Handling<H>>, partition: Arc<Partition>) -> Stopped {
    let health = handling.health.clone();
    let group = handling.settings.group.clone();
    let mut waiting = Waiting::new(&group, Arc::clone(&partition), health.clone());
    let place = Place {
        consumer: &group,
        topic: &partition.topic,
        partition: partition.number,
    };
    let replayed = dead_letter::replayed_topic(&partition.topic, &group).is_some();
    let flood = if replayed {
        handling.settings.flood.for_replays()
    } else {
        handling.settings.flood
    };
    let began = async {
        loop {
            let begun = async {
                let (flood, health) = (flood, health.clone());
                let tenure = Tenure::begin(&handling.pool, place, flood, health).await?;
                let attempted = attempts::load(&handling.pool, place).await?;
                Ok::<_, sqlx::Error>((tenure, attempted))
            };
            match begun.await {
                Ok(begun) => {
                    waiting.outage_over();
                    return Ok(begun);
                }
                Err(error) => waiting.wait_out(&error.into()).await?,
            }
        }
    };
    let began: Result<_, Stopped> = tokio::select! {
        biased;
        () = partition.stop.cancelled() => Err(Stopped),
        began = began => began,
    };
    if let Ok((tenure, attempted)) = began {
        let tenure = Arc::new(tenure);
        let fresh = || Waiting::new(&group, Arc::clone(&partition), health.clone());
        let free = Free::new(
            Arc::clone(&handling),
            Arc::clone(&tenure),
            Arc::clone(&partition),
            replayed,
            fresh(),
        );
        let worker = Worker {
            handling: Arc::clone(&handling),
            partition: Arc::clone(&partition),
            tenure: Arc::clone(&tenure),
            free,
            replayed,
            attempted,
            waiting: fresh(),
            duplicates_lately: true,
        };
        let drain = Drain::new(
            Arc::clone(&handling),
            Arc::clone(&tenure),
            replayed,
            fresh(),
        );
        // Each finishes the transaction that it has in hand.
        let working = async { tokio::join!(worker.run(), drain.run(&partition)) };
        tokio::select! {
            (Stopped, Stopped) = working => {}
            never = noting::note(&handling.pool, place, &partition) => match never {},
        }
        noting::note_last(&handling.pool, place, &partition).await;
        let leaving = tenure.guard.leave(&handling.pool, place, tenure.epoch);
        // Without it the next owner knows of fewer successes, no more.
        if let Ok(Err(error)) = tokio::time::timeout(LEAVE_WAIT, leaving).await {
            tracing::debug!(%error, "the flood guard's successes are not kept");
        }
    }
    health.set_outage(&partition.topic, partition.number, None);
    Stopped
}

struct Worker<H: BatchHandler> {
    handling: Arc<Handling<H>>,
    partition: Arc<Partition>,
    tenure: Arc<Tenure>,
    /// Whether the partition is one of the group's replay topic.
    replayed: bool,
    /// Records with failed attempts in place, as the database has them.
    attempted: BTreeMap<i64, Attempted>,
    waiting: Waiting,
    /// Whether some of the last records were finished already; so it is after an assignment, often.
    duplicates_lately: bool,
    /// Records that need no order.
    free: Free<H>,
}

impl<H: BatchHandler> Worker<H> {
    async fn run(mut self) -> Stopped {
        let Err(stopped) = self.work().await;
        self.free.end().await;
        stopped
    }

    async fn work(&mut self) -> Result<Infallible, Stopped> {
        let settings = &self.handling.settings;
        let (max_records, max_bytes) = (settings.batch_max_records, settings.batch_max_bytes);
        loop {
            let records = tokio::select! {
                biased;
                () = self.partition.stop.cancelled() => return Err(Stopped),
                records = self.partition.buffer.take(max_records, max_bytes) => records,
                () = self.free.reap(), if self.free.busy() => continue,
            };
            self.see_through(records).await?;
            self.free.make_room().await;
        }
    }

    /// Processes, parks or dead-letters every one of these records.
    async fn see_through(&mut self, records: Vec<Record>) -> Result<(), Stopped> {
        let mut chunk = self.decode_all(records).await?;
        let old = old_ones(&chunk);
        if self.must_look(!old.is_empty()) {
            self.drop_finished(&mut chunk).await?;
        }
        if !old.is_empty() {
            self.sort_out_old(&mut chunk, &old).await?;
        }
        self.free.take(&mut chunk, self.demand().is_some());
        let mut pending = chunk.isolate(&self.attempted);
        pending.reverse();
        while let Some(chunk) = pending.pop() {
            let mut rest = self.finish_or_divide(chunk).await?;
            rest.reverse();
            pending.append(&mut rest);
        }
        Ok(())
    }

    async fn decode_all(&mut self, records: Vec<Record>) -> Result<Chunk<H::Message>, Stopped> {
        let end = records.last().map_or(0, |record| record.offset + 1);
        let mut chunk = Chunk::until(end);
        chunk.deliveries.reserve(records.len());
        let mut skipped = 0;
        for mut record in records {
            loop {
                let identity = self.handling.settings.identity;
                match decode(&self.handling.codec, record, identity).await {
                    Decoded::Delivery(delivery) => chunk.deliveries.push(delivery),
                    Decoded::Poison(poison) => chunk.poison.push(poison),
                    Decoded::Skipped(record) => {
                        skipped += 1;
                        if self.demand().is_some() {
                            chunk.pass(&record);
                        }
                    }
                    Decoded::Away(same, failure) => {
                        record = same;
                        self.waiting.wait_out(&failure).await?;
                        continue;
                    }
                }
                break;
            }
        }
        self.waiting.outage_over();
        let duplicates = chunk.drop_repeated();
        self.left_alone(duplicates, skipped);
        Ok(chunk)
    }

    /// Whether finished events have to be known before the transaction, which finds them anyhow. Not where nothing is
    /// done before it and there were none lately: that is one query less for each batch.
    fn must_look(&self, any_old: bool) -> bool {
        any_old
            || self.duplicates_lately
            || self.handling.handler.prepares()
            || self.demand().is_some()
    }

    async fn drop_finished(&mut self, chunk: &mut Chunk<H::Message>) -> Result<(), Stopped> {
        let ids = chunk.ids();
        if ids.is_empty() {
            return Ok(());
        }
        loop {
            let handling = &self.handling;
            let group = &handling.settings.group;
            match inbox::finished(&handling.pool, group, &ids, self.replayed).await {
                Ok(finished) => {
                    if self.demand().is_some() {
                        chunk.pass_finished(&finished);
                    }
                    let duplicates = chunk.drop_finished(&finished);
                    self.duplicates_lately = duplicates > 0;
                    self.waiting.outage_over();
                    self.left_alone(duplicates, 0);
                    return Ok(());
                }
                Err(error) => self.waiting.wait_out(&error.into()).await?,
            }
        }
    }

    /// Tries a chunk until it is committed, or returns the parts that it has to be divided into.
    async fn finish_or_divide(
        &mut self,
        mut chunk: Chunk<H::Message>,
    ) -> Result<Vec<Chunk<H::Message>>, Stopped> {
        self.waiting.go_on()?;
        loop {
            self.place_poison(&mut chunk);
            chunk.set_aside(&mut self.tenure.lanes(), self.holds());
            self.put_in_order(&mut chunk).await?;
            if !(chunk.aside.is_empty() && chunk.put_off.is_empty()) {
                self.wait_for_room().await?;
            }
            // While it is closed, a failure of before says nothing: the record may be the probe that succeeds.
            let passing = |failure: &mut Failure| failure.class == ErrorClass::Transient;
            if self.tenure.guard.is_closed() {
                chunk.blame.take_if(passing);
            }
            let count = chunk.deliveries.len();
            if chunk.blame.is_none() && count > 0 && !self.wait_for_permit(count).await? {
                return Ok(chunk.first_alone());
            }
            let tried = match chunk.blame.take() {
                Some(failure) => Err(Uncommitted::Handler(failure.into())),
                None => self.try_once(&mut chunk, None).await,
            };
            match tried {
                Ok(()) => {
                    self.duplicates_lately |= chunk.deliveries.len() < count;
                    self.finished(&chunk);
                    return Ok(Vec::new());
                }
                Err(Uncommitted::Kit(failure)) => self.waiting.wait_out(&failure).await?,
                Err(Uncommitted::Superseded) => return Err(self.waiting.superseded().await),
                Err(Uncommitted::Moved) => {}
                Err(Uncommitted::Handler(failure)) => {
                    let outage = whole_outage(&failure).cloned();
                    if let Some((failure, first)) = outage.zip(chunk.deliveries.first()) {
                        let guard = &self.tenure.guard;
                        guard.failed(Side::Topic, &first.record, &failure, false);
                    } else if chunk.deliveries.len() > 1 {
                        self.waiting.outage_over();
                        let stopped = self.handling.handler.stops_at_failure();
                        return Ok(chunk.after(failure, stopped));
                    } else {
                        let failure = only_failure(failure);
                        if let Some(verdict) = self.judge(&chunk, failure).await? {
                            self.carry_out(&mut chunk, &verdict).await?;
                            return Ok(Vec::new());
                        }
                    }
                }
            }
        }
    }

    async fn try_once(
        &self,
        chunk: &mut Chunk<H::Message>,
        verdict: Option<&Verdict>,
    ) -> Result<(), Uncommitted> {
        let stale = self.attempted.range(..chunk.end).next().is_some();
        if chunk.is_empty() && !stale && chunk.advanced(true).is_empty() {
            self.tenure.guard.inconclusive(Side::Topic);
            return Ok(());
        }
        // Keys that this transaction parks or holds are known before it commits, never after.
        let lanes = self.new_lanes(chunk, verdict);
        lanes.iter().for_each(|lane| self.tenure.lanes().pin(*lane));
        let attempt = Try {
            handling: &self.handling,
            tenure: &self.tenure,
            replayed: self.replayed,
            origin: Origin::Topic(&self.attempted),
        };
        let tried = attempt.commit(chunk, verdict).await.map(|_| ());
        lanes
            .iter()
            .for_each(|lane| self.tenure.lanes().unpin(lane));
        tried
    }

    /// The keys of records that this transaction may park or hold and that are not pinned yet.
    fn new_lanes(&self, chunk: &Chunk<H::Message>, verdict: Option<&Verdict>) -> Vec<Lane> {
        let mut lanes = Vec::new();
        if verdict.is_some_and(|verdict| self.holds() || matches!(verdict, Verdict::Park(..))) {
            let records = chunk.deliveries.iter().map(|delivery| &delivery.record);
            lanes.extend(records.map(Lane::of));
        }
        if self.holds() {
            lanes.extend(chunk.poison.iter().map(|poison| Lane::of(&poison.record)));
        }
        lanes
    }

    /// Whether a dead letter holds its key. A replay's never does: the next replay would wait behind it.
    fn holds(&self) -> bool {
        !self.replayed && self.handling.settings.on_dead_letter == OnDeadLetter::Hold
    }

    /// Parks or dead-letters the chunk's only record.
    async fn carry_out(
        &mut self,
        chunk: &mut Chunk<H::Message>,
        verdict: &Verdict,
    ) -> Result<(), Stopped> {
        if matches!(verdict, Verdict::Park(..)) {
            self.wait_for_room().await?;
        }
        loop {
            match self.try_once(chunk, Some(verdict)).await {
                Ok(()) => break,
                Err(Uncommitted::Kit(failure)) => self.waiting.wait_out(&failure).await?,
                Err(Uncommitted::Superseded) => return Err(self.waiting.superseded().await),
                Err(Uncommitted::Moved) => self.put_in_order(chunk).await?,
                Err(Uncommitted::Handler(failure)) => {
                    self.waiting.wait_out(&only_failure(failure)).await?;
                }
            }
        }
        self.finished(chunk);
        Ok(())
    }

    fn finished(&mut self, chunk: &Chunk<H::Message>) {
        self.waiting.outage_over();
        {
            let mut lanes = self.tenure.lanes();
            let aside = chunk.aside.iter().map(|delivery| &delivery.record);
            let put_off = chunk.put_off.iter().map(|poison| &poison.record);
            for record in aside.chain(put_off) {
                lanes.unpin(&Lane::of(record));
            }
        }
        self.partition.finish(chunk.end);
        self.attempted = self.attempted.split_off(&chunk.end);
    }

    fn left_alone(&self, duplicates: usize, skipped: usize) {
        emit(LeftAlone {
            group: &self.handling.settings.group,
            topic: &self.partition.topic,
            duplicates,
            skipped,
        });
    }
}
