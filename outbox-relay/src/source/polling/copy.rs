//! Rows of a backlog, by `copy … to stdout` in binary: read into the buffers that they arrive in, with nothing made for a
//! row but its place in the batch. Source of the format: PostgreSQL documentation, "COPY", binary format.

use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use chrono::{DateTime, Duration, TimeZone as _, Utc};
use futures::TryStreamExt as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::source::{Row, SourceError};

/// Before the flags and the length of an extension.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Of a row as it is asked for: seq, event_id, topic, key, payload, headers, not_before.
const COLUMNS: i16 = 7;
/// The version before the text of a `jsonb`.
const JSONB: u8 = 1;

/// What a query for rows finds.
pub(super) async fn rows(
    connection: &mut PgConnection,
    query: &str,
) -> Result<Vec<Row>, SourceError> {
    let statement = format!("copy ({query}) to stdout (format binary)");
    let mut messages = connection.copy_out_raw(&statement).await?;
    let mut decoder = Decoder::default();
    while let Some(message) = messages.try_next().await? {
        decoder
            .take(message)
            .map_err(|problem| SourceError::Unexpected(format!("a row that has {problem}")))?;
    }
    Ok(decoder.rows)
}

#[derive(Debug, Default)]
struct Decoder {
    rows: Vec<Row>,
    begun: bool,
    /// Of the row before: mostly the same.
    topic: Option<Arc<str>>,
}

type Problem = &'static str;

impl Decoder {
    /// One message of the server: the header, a row, the trailer, or several of them.
    fn take(&mut self, mut message: Bytes) -> Result<(), Problem> {
        if !self.begun {
            if !message.starts_with(SIGNATURE) {
                return Err("no signature");
            }
            message.advance(SIGNATURE.len());
            let _flags = message.try_get_u32().map_err(|_| "no flags")?;
            let extension = message.try_get_u32().map_err(|_| "no extension")?;
            split(&mut message, extension)?;
            self.begun = true;
        }
        while !message.is_empty() {
            match message.try_get_i16().map_err(|_| "no count")? {
                COLUMNS => {
                    let row = self.row(&mut message)?;
                    self.rows.push(row);
                }
                // The trailer.
                -1 => {}
                _ => return Err("another number of columns"),
            }
        }
        Ok(())
    }

    fn row(&mut self, message: &mut Bytes) -> Result<Row, Problem> {
        let seq = present(message)?.try_get_i64().map_err(|_| "no bigint")?;
        let event_id = present(message)?;
        let event_id = Uuid::from_slice(&event_id).map_err(|_| "no uuid")?;
        let topic = present(message)?;
        let topic = self.shared(std::str::from_utf8(&topic).map_err(|_| "no text")?);
        let (key, payload) = (field(message)?, field(message)?);
        let mut headers = present(message)?;
        if headers.try_get_u8() != Ok(JSONB) {
            return Err("another version of jsonb");
        }
        let not_before = field(message)?.map(time).transpose()?;
        Ok(Row {
            seq,
            event_id,
            topic,
            key,
            payload,
            headers,
            not_before,
        })
    }

    fn shared(&mut self, topic: &str) -> Arc<str> {
        match &self.topic {
            Some(known) if **known == *topic => Arc::clone(known),
            _ => {
                let topic: Arc<str> = topic.into();
                self.topic = Some(Arc::clone(&topic));
                topic
            }
        }
    }
}

fn present(message: &mut Bytes) -> Result<Bytes, Problem> {
    field(message)?.ok_or("a null where there is none")
}

fn field(message: &mut Bytes) -> Result<Option<Bytes>, Problem> {
    match message.try_get_i32().map_err(|_| "no length")? {
        -1 => Ok(None),
        length => {
            let length = u32::try_from(length).map_err(|_| "a negative length")?;
            split(message, length).map(Some)
        }
    }
}

fn split(message: &mut Bytes, length: u32) -> Result<Bytes, Problem> {
    let length = usize::try_from(length).map_err(|_| "a length beyond memory")?;
    if length > message.len() {
        return Err("fewer bytes than it says");
    }
    Ok(message.split_to(length))
}

/// Microseconds since 2000.
fn time(mut field: Bytes) -> Result<DateTime<Utc>, Problem> {
    let microseconds = field.try_get_i64().map_err(|_| "no timestamp")?;
    Utc.with_ymd_and_hms(2000, 1, 1, 0, 0, 0)
        .single()
        .and_then(|epoch| epoch.checked_add_signed(Duration::microseconds(microseconds)))
        // As "infinity" is: later than any time.
        .or(Some(DateTime::<Utc>::MAX_UTC))
        .ok_or("no timestamp")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Vec<u8> {
        [SIGNATURE, &[0; 8]].concat()
    }

    fn row(topic: &str, not_before: Option<i64>) -> Vec<u8> {
        let mut row = COLUMNS.to_be_bytes().to_vec();
        let mut put = |field: Option<&[u8]>| match field {
            None => row.extend((-1_i32).to_be_bytes()),
            Some(field) => {
                row.extend(u32::try_from(field.len()).unwrap().to_be_bytes());
                row.extend(field);
            }
        };
        put(Some(&7_i64.to_be_bytes()));
        put(Some(&[9; 16]));
        put(Some(topic.as_bytes()));
        put(Some(b"key"));
        put(None);
        put(Some(b"\x01{}"));
        put(not_before
            .map(i64::to_be_bytes)
            .as_ref()
            .map(<[u8; 8]>::as_slice));
        row
    }

    fn decoded(messages: &[&[u8]]) -> Result<Vec<Row>, Problem> {
        let mut decoder = Decoder::default();
        for message in messages {
            decoder.take(Bytes::copy_from_slice(message))?;
        }
        Ok(decoder.rows)
    }

    #[test]
    fn rows_are_read_however_they_are_cut_into_messages() {
        let (one, two, trailer) = (row("a", None), row("a", Some(1_000_000)), [0xff, 0xff]);
        let apart = decoded(&[&header(), &one, &two, &trailer]).unwrap();
        let together = decoded(&[&[header(), one, two, trailer.to_vec()].concat()]).unwrap();
        for rows in [apart, together] {
            assert_eq!(rows.len(), 2);
            assert_eq!(
                (rows[0].seq, rows[0].event_id),
                (7, Uuid::from_bytes([9; 16]))
            );
            assert_eq!(rows[0].key.as_deref(), Some(b"key".as_slice()));
            assert_eq!((&rows[0].payload, rows[0].not_before), (&None, None));
            assert_eq!(&rows[0].headers[..], b"{}");
            assert_eq!(
                rows[1].not_before.unwrap().to_rfc3339(),
                "2000-01-01T00:00:01+00:00"
            );
            assert!(Arc::ptr_eq(&rows[0].topic, &rows[1].topic), "shared");
        }
    }

    #[test]
    fn what_is_no_row_is_named_and_nothing_is_read_beyond_its_end() {
        let whole = [header(), row("a", Some(i64::MAX))].concat();
        assert_eq!(
            decoded(&[&whole]).unwrap()[0].not_before,
            Some(DateTime::<Utc>::MAX_UTC)
        );
        for length in 0..whole.len() {
            let cut = decoded(&[&whole[..length]]);
            // Between the header and the row is an end as well.
            assert_eq!(cut.is_ok(), length == header().len(), "{length}");
        }
        let mut other = row("a", None);
        other[1] = 8;
        assert_eq!(
            decoded(&[&header(), &other]).unwrap_err(),
            "another number of columns"
        );
        assert_eq!(decoded(&[b"COPY"]).unwrap_err(), "no signature");
    }
}
