//! The parking checked in every order of events: two keys, three records, two owners of which either may be frozen,
//! woken and replaced between any two steps (one that never wakes was killed), and every attempt may succeed, fail,
//! or fail for good.
//!
//! The model makes its decisions by the very functions that the consumer uses ([`Lanes`], [`settle`] and, in `steps`,
//! `after_failure`). What stands for the database here is one transaction as one step, which is what PostgreSQL makes
//! of it.

mod steps;

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use super::OnDeadLetter;
use super::decide::{LaneEnd, settle};
use super::lanes::Lanes;
use crate::retry::RetryPolicy;

type Key = u8;
type Rec = usize;

/// One retry, from the parking.
const POLICY: RetryPolicy = RetryPolicy {
    retries: 1,
    quick_retries: 0,
    first_delay_ms: 1,
    factor: 1.0,
    max_delay_ms: 1,
    jitter: 0.0,
};
/// Assignments after the first. Two make a million worlds, and were checked too; one is quick enough for each run.
const AGAIN: u8 = 1;

/// A mistake that the check has to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    None,
    /// Transactions do not check the epoch. Alone it is none that shows here: an owner never overtakes by its own
    /// knowledge, and the inbox keeps two owners from doubling effects. So this is not all that stands between.
    NoEpoch,
    /// Records on their way into the parking do not keep their key known.
    NoPins,
    /// A key is forgotten though a record was parked between the last one's transaction and the forgetting.
    NoMoves,
    /// A new owner does not ask what is parked.
    NoLoad,
    /// A key goes back to the normal path though records of it wait.
    EarlyReturn,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    log: Vec<Key>,
    // The database.
    epoch: u8,
    /// Attempts of each parked key's first record.
    lanes: BTreeMap<Key, u32>,
    parked: Vec<Rec>,
    /// True: processed; false: dead.
    inbox: BTreeMap<Rec, bool>,
    effects: Vec<Rec>,
    // The broker.
    committed: Rec,
    assigned: usize,
    reassigned: u8,
    owners: [Option<Owner>; 2],
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Owner {
    epoch: u8,
    lanes: Lanes<Key>,
    finished: Rec,
    /// What is left of the batch in hand, in order.
    pending: Vec<Chunk>,
    worker: Worker,
    drain: Drain,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Chunk {
    records: Vec<Rec>,
    end: Rec,
    blame: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Worker {
    Idle,
    /// Decided what is set aside; the transaction follows.
    Decided {
        handle: Vec<Rec>,
        aside: Vec<Rec>,
        end: Rec,
        /// Instead of handling: park or bury the only record.
        verdict: Option<bool>,
    },
    /// The transaction committed; these keys are still pinned.
    Committed {
        pinned: Vec<Key>,
        end: Rec,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Drain {
    Idle,
    /// Has read a key's first records.
    Took {
        key: Key,
        attempts: u32,
        heads: Vec<Rec>,
        moves: u64,
    },
    /// The transaction committed and the key is gone from the database.
    Drained {
        key: Key,
        moves: u64,
    },
}

impl World {
    fn new(log: &[Key]) -> Self {
        let world = Self {
            log: log.to_vec(),
            epoch: 0,
            lanes: BTreeMap::new(),
            parked: Vec::new(),
            inbox: BTreeMap::new(),
            effects: Vec::new(),
            committed: 0,
            assigned: 0,
            reassigned: 0,
            owners: [None, None],
        };
        world.assign(0, Mistake::None)
    }

    /// The group gives the partition to this member; the other is not asked, as when it is frozen.
    fn assign(&self, owner: usize, mistake: Mistake) -> Self {
        let mut next = self.clone();
        next.epoch += 1;
        next.assigned = owner;
        if mistake != Mistake::NoEpoch {
            // Whatever the other goes on to do, its transactions are refused: its steps lead nowhere.
            next.owners = [None, None];
        }
        let known: Vec<Key> = match mistake {
            Mistake::NoLoad => Vec::new(),
            _ => self.lanes.keys().copied().collect(),
        };
        next.owners[owner] = Some(Owner {
            epoch: next.epoch,
            lanes: Lanes::new(known),
            finished: self.committed,
            pending: Vec::new(),
            worker: Worker::Idle,
            drain: Drain::Idle,
        });
        next
    }

    /// Every world that may come next.
    fn successors(&self, mistake: Mistake) -> Vec<Self> {
        let mut all = Vec::new();
        for index in 0..2 {
            if self.reassigned < AGAIN {
                let mut moved = self.assign(index, mistake);
                moved.reassigned += 1;
                all.push(moved);
            }
            let Some(owner) = &self.owners[index] else {
                continue;
            };
            // The broker refuses the offsets of a member that it has given up.
            if self.assigned == index && owner.finished > self.committed {
                let mut told = self.clone();
                told.committed = owner.finished;
                all.push(told);
            }
            self.work(index, owner, mistake, &mut all);
            self.drain(index, owner, mistake, &mut all);
        }
        all
    }

    fn with(&self, index: usize, owner: Owner) -> Self {
        let mut next = self.clone();
        next.owners[index] = Some(Owner {
            lanes: owner.lanes.without_version(),
            ..owner
        });
        next
    }

    fn waiting(&self, key: Key) -> impl Iterator<Item = Rec> {
        self.parked
            .iter()
            .copied()
            .filter(move |record| self.log[*record] == key)
    }

    fn park(&mut self, record: Rec) {
        if !self.parked.contains(&record) {
            self.parked.push(record);
        }
    }

    fn process(&mut self, record: Rec) {
        self.inbox.insert(record, true);
        self.effects.push(record);
    }

    fn finish(
        &mut self,
        owner: &mut Owner,
        (key, moves): (Key, u64),
        done: &[Rec],
        buried: bool,
        mistake: Mistake,
    ) {
        self.parked.retain(|record| !done.contains(record));
        let more = mistake != Mistake::EarlyReturn && self.waiting(key).next().is_some();
        match settle(more, buried, OnDeadLetter::Continue) {
            LaneEnd::Gone => {
                self.lanes.remove(&key);
                owner.drain = Drain::Drained { key, moves };
            }
            LaneEnd::GoesOn | LaneEnd::Held => {
                self.lanes.insert(key, 0);
            }
        }
    }

    /// What is wrong with this world, if anything is.
    fn wrong(&self) -> Option<&'static str> {
        for (at, record) in self.effects.iter().enumerate() {
            if self.effects[..at].contains(record) {
                return Some("an effect happened twice");
            }
            let overtaken = (0..*record).any(|earlier| {
                let done_before = self.effects[..at].contains(&earlier);
                self.log[earlier] == self.log[*record]
                    && !done_before
                    && self.inbox.get(&earlier) != Some(&false)
            });
            if overtaken {
                return Some("a record overtook an earlier one of its key");
            }
        }
        let lost = (0..self.committed)
            .any(|record| !self.inbox.contains_key(&record) && !self.parked.contains(&record));
        if lost {
            return Some("a record was left behind");
        }
        let orphan = self
            .parked
            .iter()
            .any(|record| !self.lanes.contains_key(&self.log[*record]));
        orphan.then_some("a record is parked without its key")
    }

    /// Whether a new owner, undisturbed, finishes every record.
    fn ends_well(&self, mistake: Mistake) -> bool {
        let mut world = self.assign(0, mistake);
        world.reassigned = AGAIN;
        world.owners[1] = None;
        for _ in 0..60 {
            if world.inbox.len() == world.log.len() && world.parked.is_empty() {
                return world.wrong().is_none();
            }
            let Some(owner) = world.owners[0].clone() else {
                return false;
            };
            let mut steps = Vec::new();
            world.work(0, &owner, mistake, &mut steps);
            if steps.is_empty() || owner.finished == world.log.len() {
                world.drain(0, &owner, mistake, &mut steps);
            }
            // The first of each is the one where all goes well.
            match steps.into_iter().next() {
                Some(next) => world = next,
                None => return false,
            }
        }
        false
    }
}

/// Worlds are told apart by 64 bits: of a million, two look the same once in 30 million runs.
fn hash(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// Every reachable world, the nearest first: how many there are, or the way to the first that is wrong.
fn explore(log: &[Key], mistake: Mistake) -> Result<usize, String> {
    let mut worlds = vec![(World::new(log), 0)];
    let mut seen = HashSet::from([hash(&worlds[0].0)]);
    let mut at = 0;
    while let Some((world, _)) = worlds.get(at).cloned() {
        let wrong = match world.wrong() {
            // Costly, and what it would find is seldom alone.
            None if at % 256 == 0 && !world.ends_well(mistake) => Some("it does not end well"),
            wrong => wrong,
        };
        if let Some(wrong) = wrong {
            let mut way = vec![at];
            while let Some(last) = way.last().copied().filter(|last| *last > 0) {
                way.push(worlds[last].1);
            }
            let way: Vec<_> = way
                .iter()
                .rev()
                .map(|at| format!("{:?}", worlds[*at].0))
                .collect();
            return Err(format!("{wrong}:\n{}", way.join("\n")));
        }
        for next in world.successors(mistake) {
            if seen.insert(hash(&next)) {
                worlds.push((next, at));
            }
        }
        at += 1;
    }
    Ok(worlds.len())
}

const LOGS: [[Key; 3]; 4] = [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1]];

#[test]
fn nothing_is_lost_doubled_or_reordered_in_any_order_of_events() {
    let all = std::thread::scope(|scope| {
        let runs = LOGS.map(|log| scope.spawn(move || explore(&log, Mistake::None)));
        runs.map(|run| {
            run.join()
                .unwrap_or_else(|_| Err("the check itself failed".into()))
        })
    });
    for (log, found) in LOGS.iter().zip(all) {
        match found {
            Ok(worlds) => assert!(worlds > 10_000, "{log:?}: {worlds}, the model stands still"),
            Err(wrong) => panic!("{log:?}: {wrong}"),
        }
    }
}

#[test]
fn not_even_an_owner_that_nothing_refuses_loses_doubles_or_reorders() {
    let mut random = StdRng::seed_from_u64(7);
    for walk in 0..20_000 {
        let mut world = World::new(&LOGS[walk % LOGS.len()]);
        let mut way = Vec::new();
        for _ in 0..60 {
            let next = world.successors(Mistake::NoEpoch);
            let Some(next) = next.choose(&mut random) else {
                break;
            };
            way.push(world.clone());
            world = next.clone();
            if let Some(wrong) = world.wrong() {
                panic!("{wrong}: {way:#?} {world:#?}");
            }
        }
    }
}

#[test]
fn the_check_finds_every_mistake_that_the_design_avoids() {
    for mistake in [
        Mistake::NoPins,
        Mistake::NoMoves,
        Mistake::NoLoad,
        Mistake::EarlyReturn,
    ] {
        let found = LOGS.iter().any(|log| explore(log, mistake).is_err());
        assert!(found, "{mistake:?} goes unnoticed");
    }
}
