//! The name under which a key is parked: short whatever the key is, and of its own for a record without key.

use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::record::Record;

/// A key's lane within its partition. Records of one lane keep their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub(crate) Uuid);

impl Lane {
    /// The lane of a key: the first half of its SHA-256. Two keys that met in one lane would wait for each other, no more.
    pub fn of_key(key: &[u8]) -> Self {
        let digest = Sha256::digest(key);
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        Self(Uuid::from_bytes(half))
    }

    /// The lane of a record: its key's, or without a key one that no other record has.
    pub(crate) fn of(record: &Record) -> Self {
        match &record.key {
            Some(key) => Self::of_key(key),
            None => Self::alone(record),
        }
    }

    /// The lane that stands in the database so.
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// A lane that no other record has, whatever its key.
    pub(crate) fn alone(record: &Record) -> Self {
        Self(record.position_id().as_uuid())
    }

    /// As it stands in the database.
    pub fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::Headers;

    #[test]
    fn a_key_has_one_lane_and_no_key_has_one_for_each_record() {
        let record = |key: Option<&'static [u8]>, offset| Record {
            topic: "t".into(),
            partition: 0,
            offset,
            timestamp: None,
            key: key.map(Into::into),
            value: None,
            headers: Headers::new(),
        };
        let lane = |key, offset| Lane::of(&record(key, offset));
        assert_eq!(lane(Some(b"a"), 1), lane(Some(b"a"), 2));
        assert_ne!(lane(Some(b"a"), 1), lane(Some(b"b"), 1));
        assert_eq!(lane(Some(b""), 1), lane(Some(b""), 2), "no bytes are a key");
        assert_ne!(lane(None, 1), lane(None, 2));
        assert_eq!(lane(None, 1), lane(None, 1));
    }
}
