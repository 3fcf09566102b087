//! Sets of sequences that come in runs: pairs of first and last, sorted, neither overlapping nor touching.

/// A set of sequences.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ranges(Vec<(i64, i64)>);

impl Ranges {
    pub(crate) fn contains(&self, sequence: i64) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < sequence);
        self.0.get(at).is_some_and(|(first, _)| *first <= sequence)
    }

    pub(crate) fn insert(&mut self, first: i64, last: i64) {
        if first > last {
            return;
        }
        let begin = self
            .0
            .partition_point(|(_, end)| end.saturating_add(1) < first);
        let end = self
            .0
            .partition_point(|(start, _)| *start <= last.saturating_add(1));
        let touched = self.0.get(begin..end).unwrap_or_default();
        let low = touched.first().map_or(first, |(low, _)| first.min(*low));
        let high = touched.last().map_or(last, |(_, high)| last.max(*high));
        self.0.splice(begin..end, [(low, high)]);
    }

    pub(crate) fn remove(&mut self, sequence: i64) {
        let at = self.0.partition_point(|(_, last)| *last < sequence);
        let Some((first, last)) = self.0.get(at).copied() else {
            return;
        };
        if first <= sequence {
            let left = [(first, sequence - 1), (sequence + 1, last)];
            self.0
                .splice(at..=at, left.into_iter().filter(|(low, high)| low <= high));
        }
    }

    /// Takes everything below `bound` out and returns it.
    pub(crate) fn take_below(&mut self, bound: i64) -> Vec<(i64, i64)> {
        let (mut below, mut rest) = (Vec::new(), Vec::new());
        for (first, last) in self.0.drain(..) {
            if first < bound {
                below.push((first, last.min(bound - 1)));
            }
            if last >= bound {
                rest.push((first.max(bound), last));
            }
        }
        self.0 = rest;
        below
    }

    /// Keeps at most so many runs by filling the spaces between the lowest.
    pub(crate) fn fill_to(&mut self, runs: usize) {
        if let Some(surplus) = self.0.len().checked_sub(runs.max(1))
            && let (Some((first, _)), Some((_, last))) = (self.0.first(), self.0.get(surplus))
        {
            let filled = (*first, *last);
            self.0.splice(..=surplus, [filled]);
        }
    }

    /// Keeps at most so many runs, the lowest.
    pub(crate) fn cut_to(&mut self, runs: usize) {
        self.0.truncate(runs);
    }

    /// As the database keeps it: first and last of each run, one after the other.
    pub(crate) fn to_flat(&self) -> Vec<i64> {
        self.0
            .iter()
            .flat_map(|(first, last)| [*first, *last])
            .collect()
    }

    /// Reads [`Ranges::to_flat`]; what is no pair of its kind is left out.
    pub(crate) fn from_flat(flat: &[i64]) -> Self {
        let mut ranges = Self::default();
        for pair in flat.chunks_exact(2) {
            if let [first, last] = *pair {
                ranges.insert(first, last);
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    #[test]
    fn it_is_the_set_that_it_stands_for() {
        let mut random = StdRng::seed_from_u64(11);
        for _ in 0..2_000 {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for _ in 0..12 {
                let (first, length) = (random.random_range(0..30), random.random_range(1..5));
                if random.random_bool(0.7) {
                    ranges.insert(first, first + length - 1);
                    set.extend(first..first + length);
                } else {
                    ranges.remove(first);
                    set.remove(&first);
                }
                let members: BTreeSet<i64> = (-1..40).filter(|n| ranges.contains(*n)).collect();
                assert_eq!(members, set, "{ranges:?}");
                let apart = ranges.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0);
                assert!(apart, "{ranges:?}");
                assert_eq!(Ranges::from_flat(&ranges.to_flat()), ranges);
            }
            let below: BTreeSet<i64> = ranges
                .take_below(15)
                .into_iter()
                .flat_map(|(first, last)| first..=last)
                .collect();
            let (low, high): (BTreeSet<i64>, BTreeSet<i64>) =
                set.into_iter().partition(|n| *n < 15);
            assert_eq!(below, low);
            assert_eq!(
                (-1..40)
                    .filter(|n| ranges.contains(*n))
                    .collect::<BTreeSet<_>>(),
                high
            );
        }
    }

    #[test]
    fn bounds_fill_from_below_and_cut_from_above() {
        let runs = [1, 1, 5, 6, 9, 9, 20, 21];
        let mut filled = Ranges::from_flat(&runs);
        filled.fill_to(2);
        assert_eq!(filled.to_flat(), [1, 9, 20, 21]);
        filled.fill_to(2);
        assert_eq!(filled.to_flat(), [1, 9, 20, 21]);
        let mut cut = Ranges::from_flat(&runs);
        cut.cut_to(2);
        assert_eq!(cut.to_flat(), [1, 1, 5, 6]);
    }
}
