//! One row of the outbox, and the sizes that it may have.

use bytes::Bytes;

use super::OutboxError;
use crate::event::EventId;
use crate::headers::Headers;

/// Bytes of an event's value with its frame. Kafka's default limit for a record is 1,048,588 bytes
/// with key and headers; the table's CHECK says the same for writers in other languages.
pub const MAX_PAYLOAD_BYTES: usize = 1_000_000;
/// Bytes of the value, and likewise of the key and of the headers, of a dead letter or replay: a whole foreign
/// record, on topics that allow more. Whatever could be read from a topic with usual limits can be kept.
pub const MAX_RAW_PAYLOAD_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of a key.
pub const MAX_KEY_BYTES: usize = 16 * 1024;
/// Bytes of all header names and values of one row.
pub const MAX_HEADERS_BYTES: usize = 128 * 1024;

/// A row as the relay publishes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Identity of the row. A dead letter's row has an id of its own; its headers keep the record's.
    pub event_id: EventId,
    /// Full topic name, with any prefix.
    pub topic: String,
    /// Record key.
    pub key: Option<Bytes>,
    /// Record value; absent is a tombstone.
    pub payload: Option<Bytes>,
    /// Record headers.
    pub headers: Headers,
}

impl OutboxRow {
    /// Refuses what Kafka would refuse, before the database does: with a typed error that names the sizes.
    pub(super) fn check_sizes(&self, event_type: &str) -> Result<(), OutboxError> {
        let event_type = || event_type.to_owned();
        let raw = self.topic.ends_with(".dlq") || self.topic.ends_with(".replay");
        let allowed = |usual: usize| if raw { MAX_RAW_PAYLOAD_BYTES } else { usual };
        let limit = allowed(MAX_PAYLOAD_BYTES);
        let bytes = self.payload.as_ref().map_or(0, Bytes::len);
        if bytes > limit {
            let key = self
                .key
                .as_deref()
                .map(|key| String::from_utf8_lossy(key).into_owned())
                .unwrap_or_default();
            return Err(OutboxError::PayloadTooLarge {
                event_type: event_type(),
                key,
                bytes,
                limit,
            });
        }
        let bytes = self.key.as_ref().map_or(0, Bytes::len);
        let limit = allowed(MAX_KEY_BYTES);
        if bytes > limit {
            return Err(OutboxError::KeyTooLarge {
                event_type: event_type(),
                bytes,
                limit,
            });
        }
        let bytes = self.headers.size_bytes();
        let limit = allowed(MAX_HEADERS_BYTES);
        if bytes > limit {
            return Err(OutboxError::HeadersTooLarge {
                event_type: event_type(),
                bytes,
                limit,
            });
        }
        Ok(())
    }
}
