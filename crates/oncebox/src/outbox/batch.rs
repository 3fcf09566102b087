//! Many events, one insert: the set-based way into the outbox.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use sqlx::PgConnection;

use super::{Cause, Outbox, OutboxError, OutboxRow};
use crate::event::{Event, EventId};
use crate::headers::{Headers, names};

/// Events of one transaction, inserted by [`OutboxBatch::insert`] in the order of the pushes.
#[derive(Debug)]
#[must_use = "events are only written by insert"]
pub struct OutboxBatch<'a> {
    outbox: &'a Outbox,
    rows: Vec<OutboxRow>,
    /// Of each row.
    not_before: Vec<Option<DateTime<Utc>>>,
}

impl<'a> OutboxBatch<'a> {
    pub(super) fn new(outbox: &'a Outbox) -> Self {
        Self {
            outbox,
            rows: Vec::new(),
            not_before: Vec::new(),
        }
    }

    /// Serialises an event and adds it. Returns the id that it will have.
    ///
    /// # Errors
    /// [`OutboxError::Codec`] when it cannot be serialised, a size error when it is too large.
    pub async fn push<E: Event>(
        &mut self,
        event: &E,
        cause: &Cause,
    ) -> Result<EventId, OutboxError> {
        self.push_at(event, cause, None).await
    }

    /// Like [`OutboxBatch::push`], for an event that is not published before that time by the database's clock.
    ///
    /// A delayed event leaves the order of its key: later events that are not delayed are published before it. When its
    /// time has come it is published within about 100 ms, behind whatever of its key the broker refuses until then.
    ///
    /// # Errors
    /// As for [`OutboxBatch::push`].
    pub async fn push_at<E: Event>(
        &mut self,
        event: &E,
        cause: &Cause,
        not_before: Option<DateTime<Utc>>,
    ) -> Result<EventId, OutboxError> {
        let payload = self.outbox.codec.encode(event).await?;
        let event_id = EventId::new();
        let key = event.key();
        let mut headers = event_headers::<E>(event_id, &key, self.outbox.source(), cause);
        if let Some(not_before) = not_before {
            let at = not_before.to_rfc3339_opts(SecondsFormat::Micros, true);
            headers.push(names::NOT_BEFORE, at);
        }
        let row = OutboxRow {
            event_id,
            topic: self.outbox.topic(E::TOPIC),
            headers,
            key: Some(Bytes::from(key)),
            payload: Some(Bytes::from(payload)),
        };
        row.check_sizes(E::TYPE)?;
        self.rows.push(row);
        self.not_before.push(not_before);
        Ok(event_id)
    }

    /// Like [`OutboxBatch::push`], with the event's position in its key's stream (header `oncebox-sequence`), for consumers
    /// that [demand](crate::sequence) it. Number the events of a key from 1 on without a gap, under the lock that the
    /// aggregate's writers take.
    ///
    /// # Errors
    /// As for [`OutboxBatch::push`].
    pub async fn push_in_sequence<E: Event>(
        &mut self,
        event: &E,
        cause: &Cause,
        sequence: u64,
    ) -> Result<EventId, OutboxError> {
        let event_id = self.push(event, cause).await?;
        if let Some(row) = self.rows.last_mut() {
            row.headers.push(names::SEQUENCE, sequence.to_string());
            row.check_sizes(E::TYPE)?;
        }
        Ok(event_id)
    }

    /// Adds a row as it is.
    ///
    /// # Errors
    /// A size error when it is too large.
    pub fn push_raw(&mut self, row: OutboxRow) -> Result<(), OutboxError> {
        row.check_sizes(&row.topic)?;
        self.rows.push(row);
        self.not_before.push(None);
        Ok(())
    }

    /// How many events are in the batch.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Inserts all of them by one statement. An empty batch asks nothing of the database.
    ///
    /// # Errors
    /// [`OutboxError::Database`]; the transaction is aborted then.
    pub async fn insert(self, tx: &mut PgConnection) -> Result<(), OutboxError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let count = self.rows.len();
        let mut ids = Vec::with_capacity(count);
        let mut topics = Vec::with_capacity(count);
        let mut keys = Vec::with_capacity(count);
        let mut payloads = Vec::with_capacity(count);
        let mut headers = Vec::with_capacity(count);
        for row in self.rows {
            ids.push(row.event_id.as_uuid());
            topics.push(row.topic);
            keys.push(row.key.map(Vec::from));
            payloads.push(row.payload.map(Vec::from));
            headers.push(row.headers.to_json());
        }
        // The sort below the insert makes seq follow the order of the pushes, whatever plan is chosen.
        sqlx::query(
            "insert into oncebox.outbox (event_id, topic, key, payload, headers, not_before)
             select event_id, topic, key, payload, headers, not_before
             from unnest($1::uuid[], $2::text[], $3::bytea[], $4::bytea[], $5::jsonb[], $6::timestamptz[])
                  with ordinality as pushed (event_id, topic, key, payload, headers, not_before, position)
             order by position",
        )
        .bind(ids)
        .bind(topics)
        .bind(keys)
        .bind(payloads)
        .bind(headers)
        .bind(self.not_before)
        .execute(tx)
        .await?;
        self.outbox.waker.soon();
        Ok(())
    }
}

fn event_headers<E: Event>(event_id: EventId, key: &str, source: &str, cause: &Cause) -> Headers {
    let id = event_id.to_string();
    let mut headers = Headers::new();
    headers.push(names::CE_SPECVERSION, "1.0");
    headers.push(names::CE_TYPE, E::TYPE);
    headers.push(names::CE_SOURCE, source);
    headers.push(names::CE_SUBJECT, key);
    headers.push(
        names::CE_TIME,
        Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true),
    );
    headers.push(names::CONTENT_TYPE, "application/avro");
    headers.push(names::TRACEPARENT, cause.trace.child().to_string());
    headers.push(names::CORRELATION_ID, cause.correlation.as_str());
    if let Some(causation) = cause.causation {
        headers.push(names::CAUSATION_ID, causation.to_string());
    }
    headers.push(names::ID, id.as_str());
    headers.push(names::CE_ID, id);
    headers
}
