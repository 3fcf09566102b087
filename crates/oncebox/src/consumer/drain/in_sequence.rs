//! Parked records whose turn has not come: waiting for the one that is missing, and going on without it at the deadline.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use sqlx::AssertSqlSafe;
use telemetry::emit;

use super::Drain;
use super::step::{First, Row};
use crate::consumer::happening::{GapGivenUp, SequenceAwaited, SequenceDropped};
use crate::consumer::transaction::Uncommitted;
use crate::consumer::waiting::Stopped;
use crate::handler::BatchHandler;
use crate::ownership;
use crate::parking::store::Due;
use crate::parking::{Lane, OnDeadLetter};
use crate::sequence::store::Advanced;
use crate::sequence::{Arrangement, Fate, InSequence, OnGap, Stream, store, wait_longer};

impl<H: BatchHandler> Drain<H> {
    fn demand(&self) -> Option<InSequence> {
        let demand = self.handling.settings.in_sequence;
        demand.filter(|_| !self.replayed)
    }

    fn holds(&self) -> bool {
        self.handling.settings.on_dead_letter == OnDeadLetter::Hold
    }

    /// Leaves of a key's first records those that have their turn.
    pub(super) async fn put_in_order(
        &mut self,
        key: &Due,
        first: &mut First<H::Message>,
    ) -> Result<(), Stopped> {
        let Some(demand) = self.demand() else {
            return Ok(());
        };
        if first.rows.iter().all(|row| row.sequence.is_none()) {
            return Ok(());
        }
        let lanes = BTreeSet::from([key.lane()]);
        let streams = loop {
            let place = self.tenure.place();
            match store::load(&self.handling.pool, place, &lanes, demand.first).await {
                Ok(streams) => break streams,
                Err(error) => self.waiting.wait_out(&error.into()).await?,
            }
        };
        let dropped = first.arrange(key.lane(), streams, self.holds());
        emit(SequenceDropped {
            group: &self.handling.settings.group,
            topic: self.tenure.place().topic,
            records: dropped,
        });
        Ok(())
    }

    /// A key's first record has not its turn: it waits, or the gap before it is given up.
    pub(super) async fn wait_or_give_up(
        &mut self,
        key: &Due,
        first: &First<H::Message>,
        head: Row,
    ) -> Result<(), Stopped> {
        let lane = key.lane();
        let (Some(demand), Some(sequence), Some(stream)) =
            (self.demand(), head.sequence, first.chunk.stream(&lane))
        else {
            return Ok(());
        };
        let missing = stream.expected().unwrap_or(sequence);
        let waiting = loop {
            match store::waiting(&self.handling.pool, self.tenure.place(), lane).await {
                Ok(waiting) => break waiting,
                Err(error) => self.waiting.wait_out(&error.into()).await?,
            }
        };
        let Some(waiting) = waiting else {
            return Ok(());
        };
        let flowing = self.waiting.flowing_for();
        let longer = wait_longer(demand.deadline, waiting.waited(), flowing);
        let doomed = key.doomed == Some(head.event_id);
        let step = match longer {
            Some(time) if !doomed => Step::Wait(stream.clone(), time),
            _ => {
                let dead_to = match demand.on_gap {
                    // An operator gave up this record and no other.
                    _ if doomed => Some(sequence),
                    // Nor does one that holds the others give them up.
                    OnGap::DeadLetter if self.holds() => Some(sequence),
                    OnGap::Process => None,
                    OnGap::DeadLetter => Some(waiting.run_to),
                };
                let mut stream = stream.clone();
                stream.give_up_before(sequence, dead_to);
                Step::GiveUp(stream)
            }
        };
        // What has moved meanwhile is found at the next look, which is due at once.
        let done = loop {
            match self.carry_out(lane, &step).await {
                Ok(done) => break done,
                Err(Uncommitted::Superseded) => return Err(self.waiting.superseded().await),
                Err(Uncommitted::Kit(failure)) => self.waiting.wait_out(&failure).await?,
                Err(Uncommitted::Handler(_) | Uncommitted::Moved) => break false,
            }
        };
        self.waiting.outage_over();
        let place = self.tenure.place();
        match step {
            Step::Wait(_, time) if done && key.waits_for != Some(missing) => {
                emit(SequenceAwaited {
                    group: place.consumer,
                    topic: place.topic,
                    partition: place.partition,
                    sequence: missing,
                    time,
                })
            }
            Step::GiveUp(_) if done => emit(GapGivenUp {
                group: place.consumer,
                topic: place.topic,
                partition: place.partition,
                policy: demand.on_gap.as_str(),
                missing,
                goes_on_at: sequence,
            }),
            Step::Wait(..) | Step::GiveUp(_) => {}
        }
        Ok(())
    }

    async fn carry_out(&self, lane: Lane, step: &Step) -> Result<bool, Uncommitted> {
        let place = self.tenure.place();
        let pool = &self.handling.pool;
        let mut tx = pool.begin_with(AssertSqlSafe("begin".to_owned())).await?;
        if !ownership::check(&mut tx, place, self.tenure.epoch).await? {
            return Err(Uncommitted::Superseded);
        }
        let done = match step {
            Step::Wait(stream, time) => store::wait(&mut tx, place, lane, stream, *time).await?,
            Step::GiveUp(stream) => {
                store::advance(&mut tx, place, &[(lane, stream.clone())]).await? != Advanced::Moved
            }
        };
        if done {
            tx.commit().await?;
        } else {
            tx.rollback().await?;
        }
        Ok(done)
    }
}

/// What a gap leads to.
enum Step {
    /// The stream stays as it is, so long.
    Wait(Stream, Duration),
    /// The stream goes on behind the gap.
    GiveUp(Stream),
}

impl<M> First<M> {
    /// Leaves what has its turn, and of what follows nothing: not in the chunk, and not among the rows. What came too late
    /// or was given up is dead-lettered with the chunk; what is finished is dropped. Returns how many that were.
    fn arrange(&mut self, lane: Lane, streams: BTreeMap<Lane, Stream>, holds: bool) -> usize {
        let Some(stream) = streams.get(&lane) else {
            return 0;
        };
        let mut arrangement = Arrangement::new(stream);
        let mut fates: HashMap<i64, Fate> = HashMap::with_capacity(self.rows.len());
        let unread: HashSet<i64> = {
            let deliveries = self.chunk.deliveries.iter();
            let poison = self.chunk.poison.iter().map(|poison| poison.record.offset);
            let here: HashSet<i64> = deliveries
                .map(|delivery| delivery.record.offset)
                .chain(poison)
                .collect();
            let rows = self.rows.iter().map(|row| row.offset);
            rows.filter(|offset| !here.contains(offset)).collect()
        };
        let mut end = self.rows.len();
        for (index, row) in self.rows.iter().enumerate() {
            // Parked before sequences were demanded: as it came.
            let Some(sequence) = row.sequence else {
                continue;
            };
            if unread.contains(&row.offset) {
                arrangement.pass(sequence);
                self.chunk.pass_as(lane, sequence);
                continue;
            }
            let fate = arrangement.take(sequence);
            let dies = matches!(fate, Fate::Late | Fate::GivenUp);
            // A dead letter that holds its key is alone in its transaction.
            if fate == Fate::Wait || (dies && holds && index > 0) {
                end = index;
                break;
            }
            fates.insert(row.offset, fate);
            if dies && holds {
                end = index + 1;
                break;
            }
        }
        let first = self.rows.first().copied();
        self.waits = first.filter(|_| end == 0);
        let left: HashSet<i64> = self.rows.drain(end..).map(|row| row.offset).collect();
        let dropped = self.chunk.leave(&left, &fates);
        self.chunk.read(streams);
        dropped
    }
}
