//! The task of one partition: takes what was fetched and sees every record through, in order.

mod patience;

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use sqlx::PgPool;
use telemetry::emit;
use tokio::runtime::Handle;

use super::batch::{Chunk, Decoded, decode, only_failure, whole_outage};
use super::group::StartTask;
use super::happening::LeftAlone;
use super::health::ConsumerHealth;
use super::partition::{Partition, Task};
use super::settings::ConsumerSettings;
use super::transaction::{Try, Uncommitted, Verdict};
use crate::attempts::{self, Attempted};
use crate::codec::Codec;
use crate::dead_letter;
use crate::handler::BatchHandler;
use crate::inbox;
use crate::outbox::Outbox;
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

/// The task was asked to end: what it has not committed comes again, to it or to another.
#[derive(Debug)]
struct Stopped;

/// Makes the function that starts a partition's task. To be called inside the runtime that runs the tasks.
pub(super) fn starter<H: BatchHandler>(handling: Arc<Handling<H>>) -> StartTask {
    let runtime = Handle::current();
    Box::new(move |partition| {
        let (alive, gone) = mpsc::channel();
        let worker = Worker {
            handling: Arc::clone(&handling),
            replayed: dead_letter::replayed_topic(&partition.topic, &handling.settings.group)
                .is_some(),
            partition,
            attempted: BTreeMap::new(),
            outage: None,
        };
        let task = runtime.spawn(async move {
            let _alive = alive;
            let Stopped = worker.run().await;
        });
        Task {
            abort: task.abort_handle(),
            gone,
        }
    })
}

struct Worker<H> {
    handling: Arc<Handling<H>>,
    partition: Arc<Partition>,
    /// Whether the partition is one of the group's replay topic.
    replayed: bool,
    /// Records with failed attempts, as the database has them.
    attempted: BTreeMap<i64, Attempted>,
    /// Since when something is away, and how often that was noticed.
    outage: Option<(Instant, u32)>,
}

impl<H: BatchHandler> Worker<H> {
    async fn run(mut self) -> Stopped {
        match self.work().await {
            Err(stopped) => {
                self.handling
                    .health
                    .set_outage(&self.partition.topic, self.partition.number, None);
                stopped
            }
            Ok(never) => match never {},
        }
    }

    async fn work(&mut self) -> Result<std::convert::Infallible, Stopped> {
        self.load_attempted().await?;
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

    async fn load_attempted(&mut self) -> Result<(), Stopped> {
        loop {
            let handling = &self.handling;
            let loaded = attempts::load(
                &handling.pool,
                &handling.settings.group,
                &self.partition.topic,
                self.partition.number,
            );
            match loaded.await {
                Ok(attempted) => {
                    self.attempted = attempted;
                    self.outage_over();
                    return Ok(());
                }
                Err(error) => self.wait_out(&error.into()).await?,
            }
        }
    }

    /// Processes or dead-letters every one of these records.
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
                        self.wait_out(&failure).await?;
                        continue;
                    }
                }
                break;
            }
        }
        self.outage_over();
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
                    self.outage_over();
                    self.left_alone(duplicates, 0);
                    return Ok(());
                }
                Err(error) => self.wait_out(&error.into()).await?,
            }
        }
    }

    /// Tries a chunk until it is committed, or returns the parts that it has to be divided into.
    async fn finish_or_divide(
        &mut self,
        mut chunk: Chunk<H::Message>,
    ) -> Result<Vec<Chunk<H::Message>>, Stopped> {
        self.wait_until_due(&chunk).await?;
        loop {
            let tried = match chunk.blame.take() {
                Some(failure) => Err(Uncommitted::Handler(failure.into())),
                None => self.try_once(&mut chunk, None).await,
            };
            match tried {
                Ok(()) => {
                    self.finished(&chunk);
                    return Ok(Vec::new());
                }
                Err(Uncommitted::Kit(failure)) => self.wait_out(&failure).await?,
                Err(Uncommitted::Handler(failure)) => {
                    if let Some(failure) = whole_outage(&failure) {
                        self.wait_out(failure).await?;
                    } else if chunk.deliveries.len() > 1 {
                        self.outage_over();
                        return Ok(chunk.after(failure));
                    } else {
                        let failure = only_failure(failure);
                        if let Some(verdict) = self.judge(&chunk, failure).await? {
                            self.bury(&mut chunk, &verdict).await?;
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
        if chunk.deliveries.is_empty() && chunk.poison.is_empty() && !stale {
            return Ok(());
        }
        let attempt = Try {
            handling: &self.handling,
            topic: &self.partition.topic,
            partition: self.partition.number,
            replayed: self.replayed,
            attempted: &self.attempted,
        };
        attempt.commit(chunk, verdict).await
    }

    async fn bury(
        &mut self,
        chunk: &mut Chunk<H::Message>,
        verdict: &Verdict,
    ) -> Result<(), Stopped> {
        loop {
            match self.try_once(chunk, Some(verdict)).await {
                Ok(()) => break,
                Err(Uncommitted::Kit(failure)) => self.wait_out(&failure).await?,
                Err(Uncommitted::Handler(failure)) => {
                    self.wait_out(&only_failure(failure)).await?;
                }
            }
        }
        self.finished(chunk);
        Ok(())
    }

    fn finished(&mut self, chunk: &Chunk<H::Message>) {
        self.outage_over();
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
