//! What an owner may do next in a world: each step, and each way in which it may end.

use super::{Chunk, Drain, Key, Mistake, Owner, POLICY, Rec, Worker, World};
use crate::failure::ErrorClass;
use crate::parking::decide::{Next, after_failure};

/// How an attempt at several records ends: all succeed, or the one at an index fails (true: for good).
type Outcome = Option<(usize, bool)>;

/// `for_good`: whether failures for good are among them. From the parking a second failure is one.
fn outcomes(records: usize, for_good: bool) -> Vec<Outcome> {
    let mut all = vec![None];
    for index in 0..records {
        all.push(Some((index, false)));
        if for_good {
            all.push(Some((index, true)));
        }
    }
    all
}

fn class(permanent: bool) -> ErrorClass {
    if permanent {
        ErrorClass::Permanent
    } else {
        ErrorClass::Transient
    }
}

impl World {
    /// What the half that takes records from the topic may do.
    pub(super) fn work(&self, index: usize, owner: &Owner, mistake: Mistake, all: &mut Vec<Self>) {
        match &owner.worker {
            Worker::Idle => {
                if let Some(chunk) = owner.pending.first() {
                    let mut owner = owner.clone();
                    owner.pending.remove(0);
                    all.push(self.with(index, self.decide(owner, chunk, mistake)));
                } else {
                    for end in owner.finished + 1..=self.log.len().min(owner.finished + 2) {
                        let chunk = Chunk {
                            records: (owner.finished..end).collect(),
                            end,
                            blame: None,
                        };
                        all.push(self.with(index, self.decide(owner.clone(), &chunk, mistake)));
                    }
                }
            }
            Worker::Decided {
                handle,
                aside,
                end,
                verdict,
            } => {
                let mut world = self.clone();
                let fresh: Vec<Rec> = handle
                    .iter()
                    .copied()
                    .filter(|record| !self.inbox.contains_key(record))
                    .collect();
                let tries = if verdict.is_some() {
                    vec![None]
                } else {
                    outcomes(fresh.len(), true)
                };
                for outcome in tries {
                    if let Some((at, permanent)) = outcome {
                        all.push(
                            self.with(index, divided(owner, &fresh, aside, *end, at, permanent)),
                        );
                        continue;
                    }
                    world.clone_from(self);
                    let mut pinned: Vec<Key> = aside.iter().map(|rec| self.log[*rec]).collect();
                    for record in &fresh {
                        match verdict {
                            None => world.process(*record),
                            Some(true) => {
                                world.inbox.insert(*record, false);
                            }
                            Some(false) => {
                                world.lanes.entry(self.log[*record]).or_insert(1);
                                world.park(*record);
                                pinned.push(self.log[*record]);
                            }
                        }
                    }
                    for record in aside {
                        world.lanes.entry(self.log[*record]).or_insert(0);
                        world.park(*record);
                    }
                    let mut owner = owner.clone();
                    owner.worker = Worker::Committed { pinned, end: *end };
                    all.push(world.with(index, owner));
                }
            }
            Worker::Committed { pinned, end } => {
                let mut owner = owner.clone();
                for key in pinned {
                    if mistake != Mistake::NoPins {
                        owner.lanes.unpin(key);
                    }
                }
                owner.finished = *end;
                owner.worker = Worker::Idle;
                all.push(self.with(index, owner));
            }
        }
    }

    /// Sets aside what belongs to parked keys, by what the owner knows.
    fn decide(&self, mut owner: Owner, chunk: &Chunk, mistake: Mistake) -> Owner {
        let (mut handle, mut aside) = (Vec::new(), Vec::new());
        for record in &chunk.records {
            let key = self.log[*record];
            if owner.lanes.contains(&key) {
                if mistake != Mistake::NoPins {
                    owner.lanes.pin(key);
                }
                aside.push(*record);
            } else {
                handle.push(*record);
            }
        }
        let verdict = match (chunk.blame, handle.first()) {
            (Some(permanent), Some(record)) => {
                let bury = after_failure(&POLICY, class(permanent), 1, false) == Next::Bury;
                if !bury {
                    owner.lanes.pin(self.log[*record]);
                }
                Some(bury)
            }
            _ => None,
        };
        owner.worker = Worker::Decided {
            handle,
            aside,
            end: chunk.end,
            verdict,
        };
        owner
    }

    /// What the half that tries parked records may do.
    pub(super) fn drain(&self, index: usize, owner: &Owner, mistake: Mistake, all: &mut Vec<Self>) {
        match &owner.drain {
            Drain::Idle => {
                for (key, attempts) in &self.lanes {
                    let most = if *attempts > 0 { 1 } else { 2 };
                    let heads: Vec<Rec> = self.waiting(*key).take(most).collect();
                    let mut owner = owner.clone();
                    owner.drain = Drain::Took {
                        key: *key,
                        attempts: *attempts,
                        heads,
                        moves: owner.lanes.moves(key),
                    };
                    all.push(self.with(index, owner));
                }
            }
            Drain::Took {
                key,
                attempts,
                heads,
                moves,
            } => {
                let fresh: Vec<Rec> = heads
                    .iter()
                    .copied()
                    .filter(|record| !self.inbox.contains_key(record))
                    .collect();
                for outcome in outcomes(fresh.len(), false) {
                    let mut world = self.clone();
                    let mut next = owner.clone();
                    next.drain = Drain::Idle;
                    match outcome {
                        None => {
                            fresh.iter().for_each(|record| world.process(*record));
                            world.finish(&mut next, (*key, *moves), heads, false, mistake);
                        }
                        // Tried again up to the one that failed; it is the first one then.
                        Some((at, _)) if fresh[at] != heads[0] => {
                            let heads = heads.iter().copied().take_while(|rec| *rec != fresh[at]);
                            next.drain = Drain::Took {
                                key: *key,
                                attempts: 0,
                                heads: heads.collect(),
                                moves: *moves,
                            };
                        }
                        Some((_, permanent)) => {
                            let failed = attempts + 1;
                            match after_failure(&POLICY, class(permanent), failed, true) {
                                Next::Bury => {
                                    world.inbox.insert(heads[0], false);
                                    world.finish(
                                        &mut next,
                                        (*key, *moves),
                                        &heads[..1],
                                        true,
                                        mistake,
                                    );
                                }
                                _ => {
                                    world.lanes.entry(*key).and_modify(|count| *count = failed);
                                }
                            }
                        }
                    }
                    all.push(world.with(index, next));
                }
            }
            Drain::Drained { key, moves } => {
                let mut owner = owner.clone();
                let moves = match mistake {
                    Mistake::NoMoves => owner.lanes.moves(key),
                    _ => *moves,
                };
                owner.lanes.drained(key, moves);
                owner.drain = Drain::Idle;
                all.push(self.with(index, owner));
            }
        }
    }
}

/// The batch taken apart around the record that failed.
fn divided(
    owner: &Owner,
    fresh: &[Rec],
    aside: &[Rec],
    end: Rec,
    at: usize,
    permanent: bool,
) -> Owner {
    let mut owner = owner.clone();
    let (bad, mut pieces) = (fresh[at], Vec::new());
    let mut piece = |from: Rec, to: Rec, blame| {
        let records: Vec<Rec> = fresh
            .iter()
            .chain(aside)
            .copied()
            .filter(|record| (from..to).contains(record))
            .collect();
        if from < to {
            pieces.push(Chunk {
                records,
                end: to,
                blame,
            });
        }
    };
    piece(0, bad, None);
    piece(bad, bad + 1, Some(permanent));
    piece(bad + 1, end, None);
    pieces.retain(|piece| !piece.records.is_empty() || piece.end == end);
    for chunk in &mut pieces {
        chunk.records.sort_unstable();
    }
    // The pins stay with the records; deciding anew would pin them again, which is no less safe.
    pieces.append(&mut owner.pending);
    owner.pending = pieces;
    owner.worker = Worker::Idle;
    owner
}
