//! One outbox row as the relay reads it.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row as _};
use uuid::Uuid;

/// A row, its headers still as the table has them. What it holds lies in the buffer that it was read into, as far as can be:
/// rows are many, and the relay's memory is theirs.
#[derive(Debug, Clone)]
pub struct Row {
    /// Order inside a window.
    pub seq: i64,
    /// The event's id, for logs.
    pub event_id: Uuid,
    /// Topic to publish to.
    pub topic: Arc<str>,
    /// Record key.
    pub key: Option<Bytes>,
    /// Record value.
    pub payload: Option<Bytes>,
    /// Record headers, as JSON.
    pub headers: Bytes,
    /// Not to be published before; absent when the database says that the time has come.
    pub not_before: Option<DateTime<Utc>>,
}

impl Row {
    /// Bytes that the record will roughly have.
    pub fn size_bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len) + self.payload.as_ref().map_or(0, Bytes::len)
    }
}

impl<'r> FromRow<'r, PgRow> for Row {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        let bytes = |column| -> Result<Option<Bytes>, sqlx::Error> {
            Ok(row.try_get::<Option<Vec<u8>>, _>(column)?.map(Bytes::from))
        };
        let headers: sqlx::types::Json<Box<serde_json::value::RawValue>> =
            row.try_get("headers")?;
        Ok(Self {
            seq: row.try_get("seq")?,
            event_id: row.try_get("event_id")?,
            topic: row.try_get::<&str, _>("topic")?.into(),
            key: bytes("key")?,
            payload: bytes("payload")?,
            headers: Bytes::from(String::from(Box::<str>::from(headers.0))),
            not_before: row.try_get("not_before")?,
        })
    }
}
