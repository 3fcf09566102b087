//! Shards: equal parts of a source by hash of the key, so that several relays can publish it side by side and the order
//! within a key holds.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One shard of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shard {
    index: u16,
    count: u16,
}

impl Shard {
    /// A source can be divided into so many at most.
    pub const MOST: u16 = 32;

    /// The shard of a source that is not divided.
    pub const ONLY: Self = Self { index: 0, count: 1 };

    /// A shard of so many; none when there are not that many.
    pub fn of(index: u16, count: u16) -> Option<Self> {
        (index < count && count <= Self::MOST).then_some(Self { index, count })
    }

    /// Its number, from 0.
    pub fn index(self) -> u16 {
        self.index
    }

    /// How many there are.
    pub fn count(self) -> u16 {
        self.count
    }

    /// Its number as the database has it.
    pub(crate) fn number(self) -> i32 {
        i32::from(self.index)
    }

    /// The condition under which a row belongs to it, given SQL expressions of its key and its number.
    ///
    /// The first byte of the key's SHA-256, modulo the number of shards: no version of PostgreSQL computes it otherwise, as
    /// it may its own hash functions. Rows without a key have no order to keep and go by their number.
    pub(crate) fn rows(self, key: &str, seq: &str) -> String {
        self.condition(&format!("sha256({key})"), seq)
    }

    /// The same of a parked row, which keeps its key's hash.
    pub(crate) fn parked(self) -> String {
        self.condition("key_hash", "seq")
    }

    fn condition(self, hash: &str, seq: &str) -> String {
        match self.count {
            1 => "true".into(),
            count => format!(
                "coalesce(get_byte({hash}, 0)::bigint, {seq}) % {count} = {}",
                self.index
            ),
        }
    }
}

/// How a source is divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Names this division; nil is the one that a source begins with.
    pub id: Uuid,
    /// How many shards.
    pub shards: u16,
    /// Who is changing it.
    pub change: Option<Change>,
}

impl Layout {
    /// A source that was never divided.
    pub const FIRST: Self = Self {
        id: Uuid::nil(),
        shards: 1,
        change: None,
    };

    /// Its shards.
    pub fn shards(&self) -> impl Iterator<Item = Shard> + use<> {
        let count = self.shards;
        (0..count).filter_map(move |index| Shard::of(index, count))
    }

    /// Whether shards may be published under it: by everybody while nobody changes it, and by whoever does.
    pub(crate) fn admits(&self, id: Uuid, change: Option<Uuid>) -> bool {
        self.id == id && self.change.as_ref().map(|change| change.id) == change
    }
}

/// A change of a layout that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Names it.
    pub id: Uuid,
    /// Who is at it, by host and process.
    pub holder: String,
    /// Whether whoever was at it gave no sign for a while.
    pub expired: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_one_of_so_many() {
        assert_eq!(Shard::of(0, 1), Some(Shard::ONLY));
        assert_eq!(Shard::of(1, 1), None);
        assert_eq!(Shard::of(0, 33), None);
        assert_eq!(Shard::ONLY.rows("key", "seq"), "true");
        let second = Shard::of(1, 4).unwrap();
        assert_eq!(
            second.rows("key", "seq"),
            "coalesce(get_byte(sha256(key), 0)::bigint, seq) % 4 = 1"
        );
    }

    #[test]
    fn a_layout_admits_its_own_relays_and_whoever_changes_it() {
        let change = Change {
            id: Uuid::now_v7(),
            holder: "a/1".into(),
            expired: false,
        };
        let changing = Layout {
            change: Some(change.clone()),
            ..Layout::FIRST
        };
        assert!(Layout::FIRST.admits(Uuid::nil(), None));
        assert!(!Layout::FIRST.admits(Uuid::now_v7(), None));
        assert!(!Layout::FIRST.admits(Uuid::nil(), Some(change.id)));
        assert!(changing.admits(Uuid::nil(), Some(change.id)));
        assert!(!changing.admits(Uuid::nil(), None));
    }
}
