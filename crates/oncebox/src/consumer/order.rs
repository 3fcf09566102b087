//! A chunk under a consumer that demands sequences: what of it has its turn, and what its transaction says about the
//! streams of its keys.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use super::batch::{Chunk, Poison};
use crate::parking::Lane;
use crate::parking::lanes::Lanes;
use crate::record::{Delivery, Record};
use crate::sequence::{Arrangement, Fate, SequenceError, Stream, sequence_of};

/// What a chunk knows of sequences; empty where none are demanded.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The streams of the chunk's keys, as they were read last.
    streams: BTreeMap<Lane, Stream>,
    /// What is finished without being handled here.
    passed: Vec<(Lane, i64)>,
}

/// The stream of a record and its place in it, where it has both.
pub(super) fn place_of(record: &Record) -> Option<(Lane, i64)> {
    record.key.as_ref()?;
    Some((Lane::of(record), sequence_of(&record.headers).ok()?))
}

fn place(record: &Record) -> Result<(Lane, i64), SequenceError> {
    if record.key.is_none() {
        return Err(SequenceError::NoKey);
    }
    Ok((Lane::of(record), sequence_of(&record.headers)?))
}

impl<M> Chunk<M> {
    /// Notes that a record is finished without being handled: its turn need not be waited for.
    pub(super) fn pass(&mut self, record: &Record) {
        self.order.passed.extend(place_of(record));
    }

    /// [`Chunk::pass`], for a record of which only that is known.
    pub(super) fn pass_as(&mut self, lane: Lane, sequence: i64) {
        self.order.passed.push((lane, sequence));
    }

    /// [`Chunk::pass`] for those of its records that are finished already.
    pub(super) fn pass_finished(&mut self, finished: &HashSet<Uuid>) {
        let deliveries = self.deliveries.iter();
        let deliveries = deliveries
            .filter(|delivery| finished.contains(&delivery.event_id.as_uuid()))
            .filter_map(|delivery| place_of(&delivery.record));
        let poison = self.poison.iter();
        let poison = poison
            .filter(|poison| finished.contains(&poison.event_id))
            .filter_map(|poison| place_of(&poison.record));
        self.order.passed.extend(deliveries.chain(poison));
    }

    /// The keys whose streams have to be read for [`Chunk::arrange`].
    pub(super) fn streams_needed(&self) -> BTreeSet<Lane> {
        let records = self.deliveries.iter().chain(&self.aside);
        let records = records.map(|delivery| &delivery.record);
        let poison = self.poison.iter().chain(&self.put_off);
        let poison = poison.map(|poison| &poison.record);
        let keyed = records.chain(poison).filter_map(place_of);
        let passed = self.order.passed.iter().copied();
        keyed.chain(passed).map(|(lane, _)| lane).collect()
    }

    /// Leaves to be handled what has its turn. What has to wait is set aside and its key pinned; what came too late, or has
    /// no place at all, is dead-lettered with the chunk; what is finished is dropped. Returns how many were dropped.
    pub(super) fn arrange(
        &mut self,
        streams: BTreeMap<Lane, Stream>,
        lanes: &mut Lanes<Lane>,
    ) -> usize {
        let mut dropped = 0;
        let mut by_key: BTreeMap<Lane, Arrangement> = BTreeMap::new();
        // What needs no turn comes first: it is finished whatever becomes of the others.
        for (lane, sequence) in self.finished_anyway() {
            if let Some(arrangement) = arrangement(&mut by_key, &streams, lane) {
                arrangement.pass(sequence);
            }
        }
        let aside = std::mem::take(&mut self.aside);
        for delivery in aside {
            let fate = fate(&mut by_key, &streams, &delivery.record, true);
            if fate != Ok(Fate::Wait) {
                lanes.unpin(&Lane::of(&delivery.record));
            }
            dropped += self.sort_in(delivery, fate, |_| {});
        }
        for delivery in std::mem::take(&mut self.deliveries) {
            let fate = fate(&mut by_key, &streams, &delivery.record, false);
            dropped += self.sort_in(delivery, fate, |lane| lanes.pin(lane));
        }
        self.aside.sort_by_key(|delivery| delivery.record.offset);
        self.poison.sort_by_key(|poison| poison.record.offset);
        if self.deliveries.is_empty() {
            self.blame = None;
        }
        self.order.streams = streams;
        dropped
    }

    /// Does what the fate says; 1 when the record was dropped.
    fn sort_in(
        &mut self,
        delivery: Delivery<M>,
        fate: Result<Fate, SequenceError>,
        pin: impl FnOnce(Lane),
    ) -> usize {
        match fate {
            Ok(Fate::Handle) => self.deliveries.push(delivery),
            Ok(Fate::Wait) => {
                pin(Lane::of(&delivery.record));
                self.aside.push(delivery);
            }
            Ok(Fate::Drop) => return 1,
            Ok(Fate::Late) => self.refuse(delivery, |sequence| SequenceError::Late { sequence }),
            Ok(Fate::GivenUp) => self.refuse(delivery, |sequence| SequenceError::Gap { sequence }),
            Err(error) => self.refuse(delivery, |_| error),
        }
        0
    }

    /// Dead-letters a record that was understood, under its own identity: a replay makes it processed.
    fn refuse(&mut self, delivery: Delivery<M>, why: impl FnOnce(i64) -> SequenceError) {
        let sequence = place_of(&delivery.record).map_or(0, |(_, sequence)| sequence);
        let event_id: Uuid = delivery.event_id.as_uuid();
        self.poison.push(Poison {
            record: delivery.record,
            event_id,
            failure: why(sequence).into(),
            // Refused by a rule that the consumer asked for, not because something is broken.
            slot: true,
        });
    }

    /// Takes these records out, by their offsets, and of the others does what their fates say. Returns how many were
    /// dropped. For the records of one key, which need not be in the order of their offsets.
    pub(super) fn leave(&mut self, out: &HashSet<i64>, fates: &HashMap<i64, Fate>) -> usize {
        self.poison
            .retain(|poison| !out.contains(&poison.record.offset));
        let mut dropped = 0;
        for delivery in std::mem::take(&mut self.deliveries) {
            let offset = delivery.record.offset;
            match fates.get(&offset) {
                _ if out.contains(&offset) => {}
                Some(Fate::Drop) => dropped += 1,
                Some(Fate::Late) => {
                    self.refuse(delivery, |sequence| SequenceError::Late { sequence })
                }
                Some(Fate::GivenUp) => {
                    self.refuse(delivery, |sequence| SequenceError::Gap { sequence });
                }
                Some(Fate::Handle | Fate::Wait) | None => self.deliveries.push(delivery),
            }
        }
        dropped
    }

    /// Notes the streams as they were read.
    pub(super) fn read(&mut self, streams: BTreeMap<Lane, Stream>) {
        self.order.streams = streams;
    }

    /// What is finished with the chunk out of turn.
    fn finished_anyway(&self) -> Vec<(Lane, i64)> {
        let poison = self.poison.iter().map(|poison| &poison.record);
        let poison = poison.filter_map(place_of);
        self.order.passed.iter().copied().chain(poison).collect()
    }

    /// What the streams that the chunk changes are when it is committed. `finished`: whether its deliveries are
    /// finished then, which those that are parked are not.
    pub(super) fn advanced(&self, finished: bool) -> Vec<(Lane, Stream)> {
        if self.order.streams.is_empty() {
            return Vec::new();
        }
        let deliveries = self.deliveries.iter().filter(|_| finished);
        let deliveries = deliveries.filter_map(|delivery| place_of(&delivery.record));
        let mut changed: BTreeMap<Lane, Stream> = BTreeMap::new();
        for (lane, sequence) in self.finished_anyway().into_iter().chain(deliveries) {
            if let Some(stream) = self.order.streams.get(&lane) {
                let stream = changed.entry(lane).or_insert_with(|| stream.clone());
                stream.finish(sequence);
            }
        }
        changed
            .into_iter()
            .filter(|(lane, stream)| self.order.streams.get(lane) != Some(stream))
            .collect()
    }

    /// The stream of that key, as it was read last.
    pub(super) fn stream(&self, lane: &Lane) -> Option<&Stream> {
        self.order.streams.get(lane)
    }

    /// The sequence by which a record of the chunk is parked, where it is parked by one.
    pub(super) fn sequence(&self, record: &Record) -> Option<i64> {
        let (lane, sequence) = place_of(record)?;
        self.order.streams.contains_key(&lane).then_some(sequence)
    }
}

fn arrangement<'a>(
    by_key: &'a mut BTreeMap<Lane, Arrangement>,
    streams: &BTreeMap<Lane, Stream>,
    lane: Lane,
) -> Option<&'a mut Arrangement> {
    match by_key.entry(lane) {
        Entry::Occupied(known) => Some(known.into_mut()),
        Entry::Vacant(new) => Some(new.insert(Arrangement::new(streams.get(&lane)?))),
    }
}

fn fate(
    by_key: &mut BTreeMap<Lane, Arrangement>,
    streams: &BTreeMap<Lane, Stream>,
    record: &Record,
    parked: bool,
) -> Result<Fate, SequenceError> {
    let (lane, sequence) = place(record)?;
    match arrangement(by_key, streams, lane) {
        Some(arrangement) => {
            if parked {
                arrangement.hold();
            }
            Ok(arrangement.take(sequence))
        }
        // Read by nobody: it waits until it was.
        None => Ok(Fate::Wait),
    }
}
