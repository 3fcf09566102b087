//! What an owner remembers of its partition's parked keys, so that a batch without any costs no question.
//!
//! It must never know less than the database has: a key that is parked there and unknown here would be overtaken. It
//! may know more for a while: such a key's next record takes the way through the parking and arrives in order.

use std::collections::{BTreeMap, BTreeSet};

/// Parked keys, as the owner knows them. Pinned ones are being parked by a transaction that is on its way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Lanes<L> {
    known: BTreeMap<L, Traffic>,
    /// Counts what was added, so that a look at the database can tell whether it is still true.
    version: u64,
}

/// What goes into a parked key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Traffic {
    /// Records that are on their way.
    pins: u32,
    /// Counts when one sets out and when it has arrived.
    moves: u64,
}

impl<L: Ord + Copy> Lanes<L> {
    /// What the database has when the partition is taken over.
    pub(crate) fn new(parked: impl IntoIterator<Item = L>) -> Self {
        Self {
            known: parked
                .into_iter()
                .map(|lane| (lane, Traffic::default()))
                .collect(),
            version: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    pub(crate) fn contains(&self, lane: &L) -> bool {
        self.known.contains_key(lane)
    }

    /// A record is going to be parked: before the transaction begins.
    pub(crate) fn pin(&mut self, lane: L) {
        let traffic = self.known.entry(lane).or_default();
        traffic.pins += 1;
        traffic.moves += 1;
        self.version += 1;
    }

    /// It is parked: after the transaction committed. The key stays known.
    pub(crate) fn unpin(&mut self, lane: &L) {
        if let Some(traffic) = self.known.get_mut(lane) {
            traffic.pins = traffic.pins.saturating_sub(1);
            traffic.moves += 1;
        }
        self.version += 1;
    }

    /// What has gone into the key so far: to be asked before a transaction that may finish its last record.
    pub(crate) fn moves(&self, lane: &L) -> u64 {
        self.known.get(lane).map_or(0, |traffic| traffic.moves)
    }

    /// The key's last parked record is finished, and that is committed. The key stays known if a record is on its way
    /// or was since `moves` was read: it may lie in the parking already, behind the last one.
    pub(crate) fn drained(&mut self, lane: &L, moves: u64) {
        let last = Traffic { pins: 0, moves };
        if self.known.get(lane) == Some(&last) {
            self.known.remove(lane);
        }
    }

    /// To be asked before the database is, for [`Lanes::forget_others`].
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Keeps those that the database has, unless something was added since.
    pub(crate) fn forget_others(&mut self, version: u64, parked: &BTreeSet<L>) {
        if self.version == version {
            self.known
                .retain(|lane, traffic| traffic.pins > 0 || parked.contains(lane));
        }
    }
}

#[cfg(test)]
impl<L> Lanes<L> {
    /// For the model, whose states would never repeat otherwise.
    pub(crate) fn without_version(mut self) -> Self {
        self.version = 0;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_forgotten_only_when_nothing_is_on_its_way() {
        let mut lanes = Lanes::new(["a"]);
        let before = lanes.moves(&"a");
        lanes.pin("a");
        lanes.drained(&"a", before);
        assert!(lanes.contains(&"a"), "a record follows");
        lanes.unpin(&"a");
        lanes.drained(&"a", before);
        assert!(lanes.contains(&"a"), "it followed, and is parked by now");
        lanes.drained(&"a", lanes.moves(&"a"));
        assert!(lanes.is_empty());
    }

    #[test]
    fn an_old_look_at_the_database_forgets_nothing() {
        let mut lanes = Lanes::new([]);
        let before = lanes.version();
        lanes.pin("a");
        lanes.unpin(&"a");
        lanes.forget_others(before, &BTreeSet::new());
        assert!(lanes.contains(&"a"));
        lanes.forget_others(lanes.version(), &BTreeSet::new());
        assert!(lanes.is_empty());
    }
}
