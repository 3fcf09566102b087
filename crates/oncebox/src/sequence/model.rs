//! The order of one key checked in every order of events: records that arrive shuffled, twice or never, by one partition or
//! by two; deadlines that pass whenever something waits; crashes between any two steps.
//!
//! The model decides by the functions that the consumer uses ([`Stream`], [`Arrangement`]). Each partition's two halves first
//! look and then commit, so that whatever another commits in between is found or missed as in the database: what stands for
//! that is one transaction as one step.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::stream::{Arrangement, Fate, Stream};

/// A record: its sequence, partition, and offset.
type Rec = (i64, usize, usize);

/// A mistake that the check has to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    None,
    /// A transaction does not ask whether the stream has moved since it was read.
    NoVersion,
    /// A key that begins to wait leaves its stream as it was, so that who moves it does not find out.
    SilentWait,
    /// A parked record does not wake the key that waits for it.
    NoArrival,
    /// What comes late is taken for a repetition.
    NoMissed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    stream: Stream,
    parts: Vec<Part>,
    /// What was handled, in order.
    effects: Vec<Rec>,
    dead: BTreeSet<Rec>,
    dropped: BTreeSet<Rec>,
    deadlines: u8,
    crashes: u8,
    /// How many of these there are at most. Two partitions wait for each other in more ways than are quickly looked at;
    /// a million such worlds were checked too.
    most: (u8, u8),
    dead_letter: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Part {
    log: Vec<Rec>,
    committed: usize,
    finished: usize,
    parked: BTreeSet<Rec>,
    waits_for: Option<i64>,
    worker: Option<Look>,
    drain: Option<Look>,
}

/// What was decided, by the stream as it was.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Look {
    stream: Stream,
    fates: BTreeMap<Rec, Fate>,
    /// Finished already.
    passed: Vec<Rec>,
    end: usize,
    /// The key's first record does not have its turn.
    waits: bool,
    /// Which partitions' keys were seen to wait.
    asleep: Vec<bool>,
}

impl World {
    fn new(logs: &[Vec<i64>], dead_letter: bool) -> Self {
        let part = |(part, log): (usize, &Vec<i64>)| Part {
            log: log
                .iter()
                .enumerate()
                .map(|(offset, sequence)| (*sequence, part, offset))
                .collect(),
            committed: 0,
            finished: 0,
            parked: BTreeSet::new(),
            waits_for: None,
            worker: None,
            drain: None,
        };
        Self {
            stream: Stream::new(Some(1)),
            parts: logs.iter().enumerate().map(part).collect(),
            effects: Vec::new(),
            dead: BTreeSet::new(),
            dropped: BTreeSet::new(),
            deadlines: 0,
            crashes: 0,
            most: match logs {
                [one] if one.len() < 4 => (2, 1),
                [_] => (0, 1),
                _ => (1, 0),
            },
            dead_letter,
        }
    }

    fn asleep(&self) -> Vec<bool> {
        let parts = self.parts.iter();
        parts.map(|part| part.waits_for.is_some()).collect()
    }

    fn in_inbox(&self, record: &Rec) -> bool {
        self.effects.contains(record) || self.dead.contains(record)
    }

    fn look(&self, records: impl Iterator<Item = Rec>, hold: bool, cut: bool) -> Look {
        let mut look = Look {
            stream: self.stream.clone(),
            fates: BTreeMap::new(),
            passed: Vec::new(),
            end: 0,
            waits: false,
            asleep: self.asleep(),
        };
        let mut arrangement = Arrangement::new(&self.stream);
        for record in records {
            if self.in_inbox(&record) {
                arrangement.pass(record.0);
                look.passed.push(record);
                continue;
            }
            if hold {
                arrangement.hold();
            }
            let fate = arrangement.take(record.0);
            if fate == Fate::Wait && cut {
                look.waits = look.fates.is_empty() && look.passed.is_empty();
                break;
            }
            look.fates.insert(record, fate);
        }
        look
    }

    /// Commits a look's records; none where the stream has moved.
    fn commit(&self, look: &Look, part: usize, mistake: Mistake) -> Option<Self> {
        let mut next = self.clone();
        let mut stream = look.stream.clone();
        let sorted: BTreeMap<usize, (Rec, Fate)> = look
            .fates
            .iter()
            .map(|(record, fate)| (record.2, (*record, *fate)))
            .collect();
        for record in &look.passed {
            stream.finish(record.0);
            next.parts[part].parked.remove(record);
        }
        // A topic's records in the order of their offsets, parked ones in that of their sequences.
        let by_turn: Vec<(Rec, Fate)> = look.fates.iter().map(|(r, f)| (*r, *f)).collect();
        let by_place: Vec<(Rec, Fate)> = sorted.into_values().collect();
        for (record, fate) in if look.end > 0 { by_place } else { by_turn } {
            next.parts[part].parked.remove(&record);
            match fate {
                Fate::Handle => next.effects.push(record),
                Fate::Late if mistake == Mistake::NoMissed => {
                    next.dropped.insert(record);
                }
                Fate::Late | Fate::GivenUp => {
                    next.dead.insert(record);
                }
                Fate::Drop => {
                    next.dropped.insert(record);
                }
                Fate::Wait => {
                    let part = &mut next.parts[part];
                    part.parked.insert(record);
                    if part.waits_for.is_some_and(|waits| waits >= record.0)
                        && mistake != Mistake::NoArrival
                    {
                        part.waits_for = None;
                    }
                }
            }
            if !matches!(fate, Fate::Wait | Fate::Drop) {
                stream.finish(record.0);
            }
        }
        next.advance(&look.stream, stream, &look.asleep, mistake)
            .then_some(next)
    }

    /// Wakes only those that were seen to wait, as a statement does by its snapshot.
    fn advance(
        &mut self,
        from: &Stream,
        stream: Stream,
        asleep: &[bool],
        mistake: Mistake,
    ) -> bool {
        if stream == *from {
            return true;
        }
        if self.stream.version != from.version && mistake != Mistake::NoVersion {
            return false;
        }
        let last = stream.expected().unwrap_or(0) - 1;
        self.stream = stream;
        self.stream.version = from.version + 1;
        for (part, _) in self.parts.iter_mut().zip(asleep).filter(|(_, seen)| **seen) {
            part.waits_for = part.waits_for.filter(|waits| *waits > last);
        }
        true
    }

    /// Every world that may come next, but for deadlines and crashes.
    fn steps(&self, mistake: Mistake) -> Vec<Self> {
        let mut all = Vec::new();
        for (index, part) in self.parts.iter().enumerate() {
            let mut with = |change: &dyn Fn(&mut Part)| {
                let mut next = self.clone();
                change(&mut next.parts[index]);
                all.push(next);
            };
            if part.finished > part.committed {
                with(&|part| part.committed = part.finished);
            }
            if part.worker.is_none() {
                for end in part.finished + 1..=part.log.len().min(part.finished + 2) {
                    let hold = !part.parked.is_empty();
                    let records = part.log[part.finished..end].iter().copied();
                    let mut look = self.look(records, hold, false);
                    look.end = end;
                    with(&|part| part.worker = Some(look.clone()));
                }
            }
            if part.drain.is_none() && part.waits_for.is_none() && !part.parked.is_empty() {
                let look = self.look(part.parked.iter().copied().take(2), false, true);
                with(&|part| part.drain = Some(look.clone()));
            }
            if let Some(look) = &part.worker {
                let mut next = match self.commit(look, index, mistake) {
                    Some(mut next) => {
                        next.parts[index].finished = look.end;
                        next
                    }
                    None => self.clone(),
                };
                next.parts[index].worker = None;
                all.push(next);
            }
            if let Some(look) = &part.drain {
                let mut next = if look.waits {
                    self.wait(look, index, mistake)
                } else {
                    self.commit(look, index, mistake)
                }
                .unwrap_or_else(|| self.clone());
                next.parts[index].drain = None;
                all.push(next);
            }
        }
        all
    }

    fn wait(&self, look: &Look, part: usize, mistake: Mistake) -> Option<Self> {
        let mut next = self.clone();
        let expected = self.stream.expected()?;
        if self.stream.version != look.stream.version {
            return None;
        }
        if mistake != Mistake::SilentWait {
            next.stream.version += 1;
        }
        let here = &mut next.parts[part];
        if here.parked.iter().any(|record| record.0 <= expected) {
            return None;
        }
        here.waits_for = Some(expected);
        Some(next)
    }

    /// A deadline passes in a partition: what waits there is given up.
    fn deadline(&self, part: usize) -> Option<Self> {
        let here = &self.parts[part];
        here.waits_for?;
        let first = here.parked.first()?.0;
        let mut run_to = first;
        for record in &here.parked {
            if record.0 == run_to + 1 {
                run_to = record.0;
            }
        }
        let mut next = self.clone();
        let mut stream = self.stream.clone();
        stream.give_up_before(first, self.dead_letter.then_some(run_to));
        next.deadlines += 1;
        next.advance(&self.stream, stream, &self.asleep(), Mistake::None)
            .then_some(next)
    }

    /// The process dies and another begins where the broker knows of.
    fn crash(&self, part: usize) -> Self {
        let mut next = self.clone();
        next.crashes += 1;
        let here = &mut next.parts[part];
        here.finished = here.committed;
        (here.worker, here.drain) = (None, None);
        next
    }

    fn wrong(&self) -> Option<&'static str> {
        let sequences: Vec<i64> = self.effects.iter().map(|record| record.0).collect();
        if sequences.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Some("effects are out of order or doubled");
        }
        let complete = sequences.iter().zip(1..).all(|(have, want)| *have == want);
        if self.deadlines == 0 && !(complete && self.dead.is_empty()) {
            return Some("something was overtaken or given up before any deadline");
        }
        let all = self.parts.iter();
        let asleep = |part: &Part| {
            part.waits_for.is_some_and(|waits| {
                self.stream.expected().is_some_and(|next| next > waits)
                    || part.parked.iter().any(|record| record.0 <= waits)
            })
        };
        if all.clone().any(asleep) {
            return Some("a key sleeps though what it waits for has come");
        }
        for part in all {
            for record in &part.log[..part.committed] {
                let kept = self.in_inbox(record) || part.parked.contains(record);
                if !kept && !self.dropped.contains(record) {
                    return Some("a record was left behind");
                }
            }
        }
        // A record is dropped only for another one of its sequence.
        let lost = self.dropped.iter().any(|dropped| {
            let same = |record: &&Rec| record.0 == dropped.0;
            !self.effects.iter().any(|record| same(&record))
                && !self.dead.iter().any(|record| same(&record))
        });
        lost.then_some("a record was dropped that was finished by no other")
    }

    fn at_rest(&self) -> bool {
        let done = |part: &Part| part.committed == part.log.len() && part.worker.is_none();
        self.parts.iter().all(done)
    }
}

/// Worlds are told apart by 64 bits.
fn hash(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// Every reachable world: how many there are, or what is wrong with the first wrong one.
fn explore(start: World, mistake: Mistake) -> Result<usize, String> {
    let mut seen = HashSet::from([hash(&start)]);
    let mut open = vec![start];
    while let Some(world) = open.pop() {
        if let Some(wrong) = world.wrong() {
            return Err(format!("{wrong}: {world:#?}"));
        }
        let mut next = world.steps(mistake);
        if next.is_empty() {
            assert!(world.at_rest(), "it stands still: {world:#?}");
        }
        for part in 0..world.parts.len() {
            if world.deadlines < world.most.0 {
                next.extend(world.deadline(part));
            }
            if world.crashes < world.most.1 {
                next.push(world.crash(part));
            }
        }
        for world in next {
            if seen.insert(hash(&world)) {
                open.push(world);
            }
        }
    }
    Ok(seen.len())
}

fn permutations(of: &[i64]) -> BTreeSet<Vec<i64>> {
    let mut all = BTreeSet::new();
    for index in 0..of.len() {
        let mut rest = of.to_vec();
        let first = rest.remove(index);
        for mut tail in permutations(&rest) {
            tail.insert(0, first);
            all.insert(tail);
        }
    }
    if of.is_empty() {
        all.insert(Vec::new());
    }
    all
}

/// Three in any order, one of them twice, one of them lost, and four.
const CASES: [&[i64]; 5] = [
    &[1, 2, 3],
    &[1, 2, 3, 2],
    &[1, 3, 4],
    &[2, 4, 4],
    &[1, 2, 3, 4],
];

/// The same records by one partition, and divided between two in every way.
fn logs(case: &[i64]) -> Vec<Vec<Vec<i64>>> {
    let mut all = Vec::new();
    for order in permutations(case) {
        all.push(vec![order.clone()]);
        if case.last() == Some(&3) {
            for cut in 1..order.len() {
                all.push(vec![order[..cut].to_vec(), order[cut..].to_vec()]);
            }
        }
    }
    all
}

#[test]
fn every_arrival_ends_in_order_once_whatever_comes_between() {
    let mut worlds = 0;
    for case in CASES {
        for logs in logs(case) {
            for dead_letter in [false, true] {
                match explore(World::new(&logs, dead_letter), Mistake::None) {
                    Ok(seen) => worlds += seen,
                    Err(wrong) => panic!("{logs:?}, dead_letter {dead_letter}: {wrong}"),
                }
            }
        }
    }
    assert!(worlds > 50_000, "{worlds}, the model stands still");
}

#[test]
fn the_check_finds_every_mistake_that_the_design_avoids() {
    for mistake in [
        Mistake::NoVersion,
        Mistake::SilentWait,
        Mistake::NoArrival,
        Mistake::NoMissed,
    ] {
        let found = CASES.iter().flat_map(|case| logs(case)).any(|logs| {
            [false, true]
                .into_iter()
                .any(|dead_letter| explore(World::new(&logs, dead_letter), mistake).is_err())
        });
        assert!(found, "{mistake:?} goes unnoticed");
    }
}
