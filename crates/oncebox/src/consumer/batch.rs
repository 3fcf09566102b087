//! A batch on its way: decoded, without what is finished already, and divided where something in it fails.

use std::collections::{BTreeMap, HashSet};
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use uuid::Uuid;

use super::order::Order;
use super::settings::Identity;
use crate::attempts::Attempted;
use crate::codec::Codec;
use crate::dead_letter::names;
use crate::event::EventId;
use crate::failure::{BatchFailure, ErrorClass, Failure};
use crate::headers;
use crate::message::Message;
use crate::parking::Lane;
use crate::parking::lanes::Lanes;
use crate::record::{Delivery, Record};

/// Consecutive records of one partition that are committed together.
#[derive(Debug)]
pub(super) struct Chunk<M> {
    /// To be handled, in order.
    pub(super) deliveries: Vec<Delivery<M>>,
    /// To be dead-lettered as they are, in order.
    pub(super) poison: Vec<Poison>,
    /// To be parked behind earlier records of their keys, in order.
    pub(super) aside: Vec<Delivery<M>>,
    /// Poison that finds no dead-letter slot: to be parked likewise, in order.
    pub(super) put_off: Vec<Poison>,
    /// The offset after the last record, including those that were left alone.
    pub(super) end: i64,
    /// What a first attempt of its only record has shown already.
    pub(super) blame: Option<Failure>,
    /// What it knows of sequences, where they are demanded.
    pub(super) order: Order,
    /// Whether its only record needs no order.
    pub(super) free: bool,
}

/// A record that cannot be decoded.
#[derive(Debug)]
pub(super) struct Poison {
    pub(super) record: Record,
    pub(super) event_id: Uuid,
    pub(super) failure: Failure,
    /// Whether the flood guard has given it a dead-letter slot.
    pub(super) slot: bool,
}

/// What one record turns out to be.
pub(super) enum Decoded<M> {
    Delivery(Delivery<M>),
    Poison(Poison),
    /// Of an event type that is others' business.
    Skipped(Record),
    /// The registry is away: nothing is known of the record yet, which comes back.
    Away(Record, Failure),
}

/// Decodes one record. A panic inside a decoder is the bytes' fault, not the process's.
pub(super) async fn decode<M: Message>(
    codec: &Codec,
    record: Record,
    identity: Identity,
) -> Decoded<M> {
    let decoding = M::decode(codec, record.value.as_deref());
    let failure = match AssertUnwindSafe(decoding).catch_unwind().await {
        Ok(Ok(Some(message))) => {
            let event_id = event_id(&record, identity);
            return Decoded::Delivery(Delivery {
                message,
                event_id,
                record,
            });
        }
        Ok(Ok(None)) => return Decoded::Skipped(record),
        Ok(Err(error)) => Failure::from(error),
        Err(_) => Failure::new(
            ErrorClass::Poison,
            "decode.malformed",
            "the decoder panicked at this value",
        ),
    };
    if failure.class == ErrorClass::Outage {
        return Decoded::Away(record, failure);
    }
    let event_id = poison_id(&record);
    Decoded::Poison(Poison {
        record,
        event_id,
        failure,
        slot: false,
    })
}

/// The identity under which a record's effects happen once.
fn event_id(record: &Record, identity: Identity) -> EventId {
    if identity == Identity::Offset {
        return record.position_id();
    }
    record
        .header_event_id()
        .or_else(|| kept_id(record))
        .or_else(|| foreign_id(record))
        .unwrap_or_else(|| record.position_id())
}

/// The identity of poison is where it lies and never its event id: bytes that cannot be read must not
/// stand in for the healthy record that may bear the same id.
fn poison_id(record: &Record) -> Uuid {
    kept_id(record)
        .unwrap_or_else(|| record.position_id())
        .as_uuid()
}

/// What an earlier dead letter of this record noted as its identity.
fn kept_id(record: &Record) -> Option<EventId> {
    record.headers.get_str(names::EVENT_ID)?.parse().ok()
}

/// CloudEvents of others need not have UUIDs; source and id together are unique (CloudEvents 1.0, section 3.1.1).
fn foreign_id(record: &Record) -> Option<EventId> {
    let id = record.headers.get_str(headers::names::CE_ID)?;
    let source = record.headers.get_str(headers::names::CE_SOURCE)?;
    let name = format!("{source}\n{id}");
    Some(EventId::from_uuid(Uuid::new_v5(
        &Uuid::NAMESPACE_URL,
        name.as_bytes(),
    )))
}

impl<M> Chunk<M> {
    /// Nothing yet, up to that offset.
    pub(super) fn until(end: i64) -> Self {
        Self {
            deliveries: Vec::new(),
            poison: Vec::new(),
            aside: Vec::new(),
            put_off: Vec::new(),
            end,
            blame: None,
            order: Order::default(),
            free: false,
        }
    }

    /// A record that needs no order.
    pub(super) fn alone(delivery: Delivery<M>) -> Self {
        let mut chunk = Self::until(delivery.record.offset + 1);
        chunk.deliveries.push(delivery);
        chunk.free = true;
        chunk
    }

    /// The lane in which a record of the chunk is parked.
    pub(super) fn lane(&self, record: &Record) -> Lane {
        if self.free {
            Lane::alone(record)
        } else {
            Lane::of(record)
        }
    }

    /// Keeps the first record of each event; returns how many were dropped.
    pub(super) fn drop_repeated(&mut self) -> usize {
        let before = self.deliveries.len() + self.poison.len();
        let mut seen = HashSet::with_capacity(before);
        self.deliveries
            .retain(|delivery| seen.insert(delivery.event_id.as_uuid()));
        let mut seen = HashSet::with_capacity(self.poison.len());
        self.poison.retain(|poison| seen.insert(poison.event_id));
        before - self.deliveries.len() - self.poison.len()
    }

    /// Drops what is finished already; returns how many that were.
    pub(super) fn drop_finished(&mut self, finished: &HashSet<Uuid>) -> usize {
        let before = self.deliveries.len() + self.poison.len();
        self.deliveries
            .retain(|delivery| !finished.contains(&delivery.event_id.as_uuid()));
        self.poison
            .retain(|poison| !finished.contains(&poison.event_id));
        before - self.deliveries.len() - self.poison.len()
    }

    /// Moves the records of parked keys aside and pins their keys. `holds`: whether a dead letter holds its key, so that
    /// what comes behind it is parked as well.
    pub(super) fn set_aside(&mut self, lanes: &mut Lanes<Lane>, holds: bool) {
        let buried: Vec<(Lane, i64)> = if holds {
            let keyed = self
                .poison
                .iter()
                .filter(|poison| poison.record.key.is_some());
            keyed
                .map(|poison| (Lane::of(&poison.record), poison.record.offset))
                .collect()
        } else {
            Vec::new()
        };
        if lanes.is_empty() && buried.is_empty() {
            return;
        }
        let waits = |record: &Record| {
            let lane = Lane::of(record);
            let behind = |(held, offset): &(Lane, i64)| *held == lane && *offset < record.offset;
            (lanes.contains(&lane) || buried.iter().any(behind)).then_some(lane)
        };
        let parked: Vec<Option<Lane>> = self
            .deliveries
            .iter()
            .map(|delivery| waits(&delivery.record))
            .collect();
        if parked.iter().all(Option::is_none) {
            return;
        }
        let all = std::mem::take(&mut self.deliveries);
        for (delivery, lane) in all.into_iter().zip(parked) {
            match lane {
                Some(lane) => {
                    lanes.pin(lane);
                    self.aside.push(delivery);
                }
                None => self.deliveries.push(delivery),
            }
        }
        // Those of an earlier try are among them.
        self.aside.sort_by_key(|delivery| delivery.record.offset);
        if self.deliveries.is_empty() {
            self.blame = None;
        }
    }

    /// All identities.
    pub(super) fn ids(&self) -> Vec<Uuid> {
        let deliveries = self.deliveries.iter();
        deliveries
            .map(|delivery| delivery.event_id.as_uuid())
            .chain(self.poison.iter().map(|poison| poison.event_id))
            .collect()
    }

    /// The records from `index` on as a chunk of their own; this one ends where that begins.
    fn split_off(&mut self, index: usize) -> Self {
        let Some(first) = self.deliveries.get(index) else {
            return Self::until(self.end);
        };
        let begin = first.record.offset;
        let poison = self
            .poison
            .partition_point(|poison| poison.record.offset < begin);
        let aside = self
            .aside
            .partition_point(|delivery| delivery.record.offset < begin);
        let put_off = self
            .put_off
            .partition_point(|poison| poison.record.offset < begin);
        let rest = Self {
            deliveries: self.deliveries.split_off(index),
            poison: self.poison.split_off(poison),
            aside: self.aside.split_off(aside),
            put_off: self.put_off.split_off(put_off),
            end: self.end,
            blame: None,
            order: Order::default(),
            free: false,
        };
        self.end = begin;
        rest
    }

    /// In order: each record that satisfies `alone` by itself, the others together.
    fn divide(
        mut self,
        mut alone: impl FnMut(usize, &Delivery<M>) -> Option<Option<Failure>>,
    ) -> Vec<Self> {
        let marks: Vec<(usize, Option<Failure>)> = self
            .deliveries
            .iter()
            .enumerate()
            .filter_map(|(index, delivery)| Some((index, alone(index, delivery)?)))
            .collect();
        // From the end, so that the indexes before stay what they are.
        let mut pieces = Vec::with_capacity(marks.len() * 2 + 1);
        for (index, blame) in marks.into_iter().rev() {
            let rest = self.split_off(index + 1);
            if !rest.deliveries.is_empty() {
                pieces.push(rest);
            } else {
                self.end = rest.end;
                self.poison.extend(rest.poison);
                self.aside.extend(rest.aside);
                self.put_off.extend(rest.put_off);
            }
            if index > 0 {
                let mut single = self.split_off(index);
                single.blame = blame;
                pieces.push(single);
            } else {
                self.blame = blame;
            }
        }
        pieces.push(self);
        pieces.reverse();
        pieces
    }

    /// Records that have failed before go alone: the others must not be rolled back with them once more.
    pub(super) fn isolate(self, attempted: &BTreeMap<i64, Attempted>) -> Vec<Self> {
        if attempted.is_empty() {
            return vec![self];
        }
        self.divide(|_, delivery| {
            attempted
                .contains_key(&delivery.record.offset)
                .then_some(None)
        })
    }

    /// What is left to do after the handler failed, in order. Only for more than one record. `stopped`: the handler did not
    /// come to the records behind the one that failed.
    pub(super) fn after(mut self, failure: BatchFailure, stopped: bool) -> Vec<Self> {
        match failure {
            BatchFailure::Records(failures)
                if failures
                    .iter()
                    .any(|(index, _)| *index < self.deliveries.len()) =>
            {
                let mut blame: BTreeMap<i64, Failure> = BTreeMap::new();
                for (index, failure) in failures {
                    if let Some(delivery) = self.deliveries.get(index) {
                        blame.insert(delivery.record.offset, failure);
                    }
                }
                if stopped {
                    self.divide(|_, delivery| blame.remove(&delivery.record.offset).map(Some))
                } else {
                    self.others_first(blame)
                }
            }
            // Nobody knows which record it was: halves, down to one.
            _ => {
                let rest = self.split_off(self.deliveries.len() / 2);
                vec![self, rest]
            }
        }
    }

    /// The records that are not to blame, as one chunk; then each that is first to blame in its key; then what waits behind
    /// these, in the same way. `failures` are told apart by offset.
    fn others_first(mut self, mut failures: BTreeMap<i64, Failure>) -> Vec<Self> {
        let mut failed: BTreeMap<Lane, i64> = BTreeMap::new();
        for Delivery { record, .. } in &self.deliveries {
            if failures.contains_key(&record.offset) {
                failed.entry(Lane::of(record)).or_insert(record.offset);
            }
        }
        // Nothing before the first that failed is left to do when the others are committed.
        let Some(begin) = failed.values().min().copied() else {
            return vec![self];
        };
        let waits = |record: &Record| {
            let first = failed.get(&Lane::of(record));
            first.is_some_and(|first| *first <= record.offset)
        };
        let end = std::mem::replace(&mut self.end, begin);
        let mut behind = Self::until(end);
        let mut firsts = Vec::with_capacity(failed.len());
        for delivery in std::mem::take(&mut self.deliveries) {
            if !waits(&delivery.record) {
                self.deliveries.push(delivery);
            } else if failed.get(&Lane::of(&delivery.record)) == Some(&delivery.record.offset) {
                let mut first = Self::until(begin);
                first.blame = failures.remove(&delivery.record.offset);
                first.deliveries.push(delivery);
                firsts.push(first);
            } else {
                behind.deliveries.push(delivery);
            }
        }
        let poison = std::mem::take(&mut self.poison).into_iter();
        (behind.poison, self.poison) = poison.partition(|poison| waits(&poison.record));
        let aside = std::mem::take(&mut self.aside).into_iter();
        (behind.aside, self.aside) = aside.partition(|delivery| waits(&delivery.record));
        let put_off = std::mem::take(&mut self.put_off).into_iter();
        (behind.put_off, self.put_off) = put_off.partition(|poison| waits(&poison.record));
        let order = std::mem::take(&mut self.order);
        let mut pieces = Vec::with_capacity(firsts.len() + 2);
        if !self.is_empty() {
            pieces.push(self);
        }
        pieces.append(&mut firsts);
        if !behind.is_empty() {
            pieces.append(&mut behind.others_first(failures));
        } else if let Some(last) = pieces.last_mut() {
            last.end = end;
        }
        // What is finished without being handled here is said by the first transaction.
        if let Some(first) = pieces.first_mut() {
            first.order = order;
        }
        pieces
    }

    /// Whether there is nothing to do with any record.
    pub(super) fn is_empty(&self) -> bool {
        let parked = self.aside.is_empty() && self.put_off.is_empty();
        self.deliveries.is_empty() && self.poison.is_empty() && parked
    }

    /// The first record as a chunk of its own, and the rest.
    pub(super) fn first_alone(mut self) -> Vec<Self> {
        let blame = self.blame.take();
        let rest = self.split_off(1);
        self.blame = blame;
        vec![self, rest]
    }
}

/// The record to blame, as its index among `records`, where that is known.
pub(super) fn to_blame(failure: BatchFailure, records: usize) -> Option<(usize, Failure)> {
    match failure {
        _ if records <= 1 => Some((0, only_failure(failure))),
        BatchFailure::Whole(_) => None,
        BatchFailure::Records(failures) => failures
            .into_iter()
            .filter(|(index, _)| *index < records)
            .min_by_key(|(index, _)| *index),
    }
}

/// The failure of a chunk of one record.
pub(super) fn only_failure(failure: BatchFailure) -> Failure {
    match failure {
        BatchFailure::Whole(failure) => failure,
        BatchFailure::Records(failures) => failures.into_iter().next().map_or_else(
            || {
                Failure::new(
                    ErrorClass::Transient,
                    "handler.unclear_failure",
                    "the handler failed and named no record",
                )
            },
            |(_, failure)| failure,
        ),
    }
}

/// Whether the failure is of something that every record needs.
pub(super) fn whole_outage(failure: &BatchFailure) -> Option<&Failure> {
    match failure {
        BatchFailure::Whole(failure) if failure.class == ErrorClass::Outage => Some(failure),
        _ => None,
    }
}
