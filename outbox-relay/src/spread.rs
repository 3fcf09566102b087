//! Who publishes which shards: each relay decides for itself from what the database says, and all come to the same.
//!
//! Shards stay where they are as far as an even spread allows, since each move costs a takeover.

use std::collections::BTreeMap;

use uuid::Uuid;

/// What the database says about a source.
#[derive(Debug)]
pub(crate) struct Situation<'a> {
    /// The relay that decides.
    pub(crate) me: Uuid,
    /// How many shards there are.
    pub(crate) shards: u16,
    /// Relays that offer to publish.
    pub(crate) members: &'a [Uuid],
    /// Shards and who has them; a shard that is free is not among them.
    pub(crate) held: &'a [(u16, Uuid)],
    /// The source's name, so that of two relays the same one is not the first for every source.
    pub(crate) source: &'a str,
}

/// What a relay is to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Moves {
    /// Shards to take.
    pub(crate) take: Vec<u16>,
    /// Shards to give back.
    pub(crate) release: Vec<u16>,
}

impl Situation<'_> {
    /// Takes what is free up to this relay's share, gives back what is above it.
    pub(crate) fn moves(&self) -> Moves {
        let mine: Vec<u16> = self
            .held
            .iter()
            .filter(|(_, owner)| *owner == self.me)
            .map(|(shard, _)| *shard)
            .collect();
        let (share, place) = self.share();
        if mine.len() > share {
            let mut release = mine;
            release.sort_unstable();
            return Moves {
                release: release.split_off(share),
                take: Vec::new(),
            };
        }
        let mut free: Vec<u16> = (0..self.shards)
            .filter(|shard| self.held.iter().all(|(held, _)| held != shard))
            .collect();
        // Each begins elsewhere, so that relays which look at the same time seldom reach for the same shard.
        let begin = place * share;
        if !free.is_empty() {
            let begin = begin % free.len();
            free.rotate_left(begin);
        }
        free.truncate(share - mine.len());
        Moves {
            take: free,
            release: Vec::new(),
        }
    }

    /// How many shards are this relay's, and its place among the relays. Whoever has more now is among the first, who
    /// have one more where the shards cannot be divided evenly.
    fn share(&self) -> (usize, usize) {
        let mut relays: BTreeMap<Uuid, usize> =
            self.members.iter().map(|member| (*member, 0)).collect();
        for (_, owner) in self.held {
            *relays.entry(*owner).or_default() += 1;
        }
        let mut order: Vec<(Uuid, usize)> = relays.into_iter().collect();
        order.sort_by_key(|(relay, held)| (std::cmp::Reverse(*held), self.salted(*relay)));
        let Some(place) = order.iter().position(|(relay, _)| *relay == self.me) else {
            return (0, 0);
        };
        let shards = usize::from(self.shards);
        let share = shards / order.len() + usize::from(place < shards % order.len());
        (share, place)
    }

    /// FNV-1a, and not the standard library's hash: relays of two builds have to come to the same order.
    fn salted(&self, relay: Uuid) -> (u64, Uuid) {
        let bytes = self.source.as_bytes().iter().chain(relay.as_bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        (hash, relay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relays that look one after the other, each at what the one before left.
    struct World {
        shards: u16,
        members: Vec<Uuid>,
        held: Vec<(u16, Uuid)>,
        moves: usize,
    }

    impl World {
        fn new(shards: u16) -> Self {
            Self {
                shards,
                members: Vec::new(),
                held: Vec::new(),
                moves: 0,
            }
        }

        /// Until nobody has anything to do.
        fn settle(&mut self) {
            self.moves = 0;
            for _ in 0..100 {
                let mut still = true;
                for me in self.members.clone() {
                    let moves = Situation {
                        me,
                        shards: self.shards,
                        members: &self.members,
                        held: &self.held,
                        source: "order",
                    }
                    .moves();
                    still &= moves == Moves::default();
                    self.moves += moves.release.len();
                    self.held
                        .retain(|(shard, owner)| *owner != me || !moves.release.contains(shard));
                    for shard in moves.take {
                        assert!(self.held.iter().all(|(held, _)| *held != shard));
                        self.held.push((shard, me));
                    }
                }
                if still {
                    return;
                }
            }
            panic!("never still: {:?}", self.held);
        }

        fn counts(&self) -> Vec<usize> {
            let count = |me: &Uuid| self.held.iter().filter(|(_, owner)| owner == me).count();
            let mut counts: Vec<_> = self.members.iter().map(count).collect();
            counts.sort_unstable();
            counts
        }

        fn join(&mut self) {
            self.members.push(Uuid::now_v7());
            self.settle();
        }

        /// Graceful or not: the member and its leases are gone.
        fn leave(&mut self, index: usize) {
            let gone = self.members.remove(index % self.members.len());
            self.held.retain(|(_, owner)| *owner != gone);
            if !self.members.is_empty() {
                self.settle();
            }
        }
    }

    #[test]
    fn shards_are_spread_evenly_and_all_of_them_after_every_join_and_leave() {
        for shards in 1..=12 {
            let mut world = World::new(shards);
            for step in 0..40_usize {
                let leaves = step % 5 > 2 && world.members.len() > 1;
                if leaves {
                    world.leave(step * 7);
                } else {
                    world.join();
                }
                let counts = world.counts();
                assert_eq!(counts.iter().sum::<usize>(), usize::from(shards));
                let (least, most) = (counts[0], counts[counts.len() - 1]);
                assert!(most - least <= 1, "{shards} shards: {counts:?}");
            }
        }
    }

    #[test]
    fn no_more_moves_than_the_joining_relay_gets() {
        let mut world = World::new(4);
        world.join();
        assert_eq!(world.counts(), [4]);
        world.join();
        assert_eq!((world.counts(), world.moves), (vec![2, 2], 2));
        world.join();
        assert_eq!((world.counts(), world.moves), (vec![1, 1, 2], 1));
        let mut single = World::new(1);
        single.join();
        let held = single.held.clone();
        for _ in 0..5 {
            single.join();
        }
        assert_eq!(single.held, held, "a single shard stays where it is");
    }

    #[test]
    fn a_relay_that_does_not_offer_keeps_what_it_has_and_takes_nothing() {
        let (able, unable) = (Uuid::now_v7(), Uuid::now_v7());
        let situation = |me, held| Situation {
            me,
            shards: 1,
            members: &[],
            held,
            source: "order",
        };
        assert_eq!(situation(unable, &[]).moves(), Moves::default());
        let held = [(0, unable)];
        assert_eq!(situation(unable, &held).moves(), Moves::default());
        let other = Situation {
            members: &[able],
            ..situation(able, &held)
        };
        assert_eq!(other.moves(), Moves::default());
    }
}
