//! How far a partition is finished when records end out of order: up to the first that has not ended.

use std::collections::BTreeSet;

/// What is under way in a partition.
#[derive(Debug)]
pub(super) struct Prefix {
    /// The offset after the last record that is finished or under way; -1 before the first.
    reached: i64,
    under_way: BTreeSet<i64>,
}

impl Default for Prefix {
    fn default() -> Self {
        Self {
            reached: -1,
            under_way: BTreeSet::new(),
        }
    }
}

impl Prefix {
    /// The record at that offset goes its own way. To be said before anything behind it is reached.
    pub(super) fn begin(&mut self, offset: i64) {
        self.under_way.insert(offset);
    }

    /// It is finished.
    pub(super) fn end(&mut self, offset: i64) {
        self.under_way.remove(&offset);
    }

    /// Everything before that offset is finished but for what goes its own way.
    pub(super) fn reach(&mut self, offset: i64) {
        self.reached = self.reached.max(offset);
    }

    /// Everything before this offset is finished; -1 when nothing is.
    pub(super) fn finished(&self) -> i64 {
        let first = self.under_way.first();
        first.map_or(self.reached, |first| self.reached.min(*first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_holds_the_prefix_and_nothing_else() {
        let mut prefix = Prefix::default();
        assert_eq!(prefix.finished(), -1);
        [3, 5].into_iter().for_each(|offset| prefix.begin(offset));
        assert_eq!(prefix.finished(), -1);
        prefix.reach(2);
        assert_eq!(prefix.finished(), 2);
        prefix.reach(10);
        assert_eq!(prefix.finished(), 3);
        prefix.end(5);
        assert_eq!(
            prefix.finished(),
            3,
            "the later one says nothing of the earlier"
        );
        prefix.end(3);
        assert_eq!(prefix.finished(), 10);
    }
}
