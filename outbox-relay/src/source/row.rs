//! One outbox row as the relay reads it.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

/// A row, its headers still as the table has them.
#[derive(Debug, Clone, FromRow)]
pub struct Row {
    /// Order inside a window.
    pub seq: i64,
    /// The event's id, for logs.
    pub event_id: Uuid,
    /// Topic to publish to.
    pub topic: String,
    /// Record key.
    pub key: Option<Vec<u8>>,
    /// Record value.
    pub payload: Option<Vec<u8>>,
    /// Record headers.
    pub headers: sqlx::types::Json<Box<serde_json::value::RawValue>>,
    /// Not to be published before; absent when the database says that the time has come.
    pub not_before: Option<DateTime<Utc>>,
}

impl Row {
    /// Bytes that the record will roughly have.
    pub fn size_bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::len) + self.payload.as_ref().map_or(0, Vec::len)
    }
}
