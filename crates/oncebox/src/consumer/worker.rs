//! The task of one partition: takes the partition over, then sees every fetched record through, in order, while its
//! other half ([`Drain`]) tries parked ones again.

mod judge;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, mpsc};

use sqlx::PgPool;
use telemetry::emit;
use tokio::runtime::Handle;

use super::batch::{Chunk, Decoded, decode, only_failure, whole_outage};
use super::drain::Drain;
use super::group::StartTask;
use super::happening::LeftAlone;
use super::health::ConsumerHealth;
use super::partition::{Partition, Task};
use super::settings::ConsumerSettings;
use super::tenure::Tenure;
use super::transaction::{Origin, Try, Uncommitted, Verdict};
use super::waiting::{Stopped, Waiting};
use crate::attempts::{self, Attempted};
use crate::codec::Codec;
use crate::dead_letter;
use crate::handler::BatchHandler;
use crate::inbox;
use crate::outbox::Outbox;
use crate::ownership::Place;
use crate::parking::{Lane, OnDeadLetter};
use crate::record::Record;

/// What all partitions of a consumer share.
pub(super) struct Handling<H> {
    pub(super) settings: ConsumerSettings,
    pub(super) pool: PgPool,
    pub(super) codec: Codec,
    pub(super) outbox: Outbox,
    pub(super) version: String,
    pub(super) handler: H,
    pub(super) health: ConsumerHealth,
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
    let began = async {
        loop {
            let begun = async {
                let tenure = Tenure::begin(&handling.pool, place).await?;
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
        let replayed = dead_letter::replayed_topic(&partition.topic, &group).is_some();
        let fresh = || Waiting::new(&group, Arc::clone(&partition), health.clone());
        let worker = Worker {
            handling: Arc::clone(&handling),
            partition: Arc::clone(&partition),
            tenure: Arc::clone(&tenure),
            replayed,
            attempted,
            waiting: fresh(),
        };
        let drain = Drain::new(Arc::clone(&handling), tenure, replayed, fresh());
        // Each finishes the transaction that it has in hand.
        let (Stopped, Stopped) = tokio::join!(worker.run(), drain.run(&partition));
    }
    health.set_outage(&partition.topic, partition.number, None);
    Stopped
}

struct Worker<H> {
    handling: Arc<Handling<H>>,
    partition: Arc<Partition>,
    tenure: Arc<Tenure>,
    /// Whether the partition is one of the group's replay topic.
    replayed: bool,
    /// Records with failed attempts in place, as the database has them.
    attempted: BTreeMap<i64, Attempted>,
    waiting: Waiting,
}

impl<H: BatchHandler> Worker<H> {
    async fn run(mut self) -> Stopped {
        match self.work().await {
            Err(stopped) => stopped,
            Ok(never) => match never {},
        }
    }

    async fn work(&mut self) -> Result<Infallible, Stopped> {
        let settings = &self.handling.settings;
        let (max_records, max_bytes) = (settings.batch_max_records, settings.batch_max_bytes);
        loop {
            let records = tokio::select! {
                biased;
                () = self.partition.stop.cancelled() => return Err(Stopped),
                records = self.partition.buffer.take(max_records, max_bytes) => records,
            };
            self.see_through(records).await?;
        }
    }

    /// Processes, parks or dead-letters every one of these records.
    async fn see_through(&mut self, records: Vec<Record>) -> Result<(), Stopped> {
        let mut chunk = self.decode_all(records).await?;
        self.drop_finished(&mut chunk).await?;
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
                    Decoded::Skipped => skipped += 1,
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
                    let duplicates = chunk.drop_finished(&finished);
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
            chunk.set_aside(&mut self.tenure.lanes(), self.holds());
            if !chunk.aside.is_empty() {
                self.wait_for_room().await?;
            }
            let tried = match chunk.blame.take() {
                Some(failure) => Err(Uncommitted::Handler(failure.into())),
                None => self.try_once(&mut chunk, None).await,
            };
            match tried {
                Ok(()) => {
                    self.finished(&chunk);
                    return Ok(Vec::new());
                }
                Err(Uncommitted::Kit(failure)) => self.waiting.wait_out(&failure).await?,
                Err(Uncommitted::Superseded) => return Err(self.waiting.superseded().await),
                Err(Uncommitted::Handler(failure)) => {
                    if let Some(failure) = whole_outage(&failure) {
                        self.waiting.wait_out(failure).await?;
                    } else if chunk.deliveries.len() > 1 {
                        self.waiting.outage_over();
                        return Ok(chunk.after(failure));
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
        let empty = chunk.deliveries.is_empty() && chunk.poison.is_empty();
        if empty && chunk.aside.is_empty() && !stale {
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
            for delivery in &chunk.aside {
                lanes.unpin(&Lane::of(&delivery.record));
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
