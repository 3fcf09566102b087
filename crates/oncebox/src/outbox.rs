//! The transactional outbox: events are rows of the service's own transaction, and the relay publishes them.
//!
//! An event exists if and only if its transaction committed (guarantee G1): there is no second system
//! to write to here, so there is nothing that could fail half-way.
//!
//! Lock the aggregate (`select … for update`, or a compare-and-set on its version) *before* appending its
//! events: then `seq` follows the order in which transactions of one key commit (guarantee G3).

mod batch;
mod row;
mod wake;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use telemetry::TraceContext;

pub use batch::OutboxBatch;
pub use row::{
    MAX_HEADERS_BYTES, MAX_KEY_BYTES, MAX_PAYLOAD_BYTES, MAX_RAW_PAYLOAD_BYTES, OutboxRow,
};
pub use wake::CHANNEL as WAKE_CHANNEL;

use wake::Waker;

use crate::codec::{Codec, CodecError};
use crate::event::{Event, EventId};

/// Writes events to the outbox. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbox {
    codec: Codec,
    source: String,
    topic_prefix: String,
    waker: Waker,
}

/// Where an event comes from: written into its headers, so that a chain of events can be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// What one request or job caused, across services.
    pub correlation: String,
    /// The event that led to this one, where it was an event.
    pub causation: Option<EventId>,
    /// The trace that goes on in whoever consumes the event.
    pub trace: TraceContext,
}

impl Cause {
    /// The cause of whatever the running task does: the HTTP request or the delivery that it handles; a new
    /// root where it handles neither.
    pub fn current() -> Self {
        match telemetry::context::current() {
            Some(context) => Self {
                correlation: context.correlation,
                causation: context.causation.map(EventId::from_uuid),
                trace: context.trace,
            },
            None => Self::root(),
        }
    }

    /// The beginning of a chain.
    pub fn root() -> Self {
        Self {
            correlation: EventId::new().to_string(),
            causation: None,
            trace: TraceContext::root(),
        }
    }
}

/// Why an event was not appended. The transaction is the caller's: let it roll back.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The encoded event is larger than what its topic accepts.
    #[error("{event_type} for key {key} is {bytes} bytes, and an event may have {limit}")]
    PayloadTooLarge {
        /// The event's type, or the topic of a raw row.
        event_type: String,
        /// The aggregate id.
        key: String,
        /// Its size, with the frame.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The key is larger than the outbox accepts.
    #[error("the key of {event_type} is {bytes} bytes, and a key may have {limit}")]
    KeyTooLarge {
        /// The event's type, or the topic of a raw row.
        event_type: String,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The headers together are larger than the outbox accepts.
    #[error("the headers of {event_type} are {bytes} bytes, and all together may have {limit}")]
    HeadersTooLarge {
        /// The event's type, or the topic of a raw row.
        event_type: String,
        /// Their size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The event could not be serialised.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The insert failed.
    #[error("outbox insert failed: {0}")]
    Database(#[from] sqlx::Error),
}

impl OutboxError {
    /// Stable code, with a page under `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::PayloadTooLarge { .. } => "outbox.payload_too_large",
            Self::KeyTooLarge { .. } => "outbox.key_too_large",
            Self::HeadersTooLarge { .. } => "outbox.headers_too_large",
            Self::Codec(error) => error.code(),
            Self::Database(_) => "outbox.database",
        }
    }
}

impl Outbox {
    /// An outbox for the service of that name (`order`), which becomes `/oncebox/order` in `ce_source`.
    /// `topic_prefix` comes before every topic; empty outside tests and shared clusters. Where the codec has a database, a
    /// resting relay of that database is woken when something was written.
    pub fn new(codec: Codec, service: &str, topic_prefix: &str) -> Self {
        Self {
            waker: Waker::new(codec.store().cloned()),
            codec,
            source: format!("/oncebox/{service}"),
            topic_prefix: topic_prefix.to_owned(),
        }
    }

    /// The codec that serialises this outbox's events.
    pub fn codec(&self) -> &Codec {
        &self.codec
    }

    /// Appends one event to the caller's transaction, caused by what the running task handles.
    ///
    /// Serialised here and now: a schema problem fails the business transaction instead of the relay.
    ///
    /// # Errors
    /// [`OutboxError`]; nothing was inserted then.
    pub async fn append<E: Event>(
        &self,
        tx: &mut PgConnection,
        event: &E,
    ) -> Result<EventId, OutboxError> {
        self.append_caused(tx, event, &Cause::current()).await
    }

    /// Like [`Outbox::append`], with a stated cause.
    ///
    /// # Errors
    /// As for [`Outbox::append`].
    pub async fn append_caused<E: Event>(
        &self,
        tx: &mut PgConnection,
        event: &E,
        cause: &Cause,
    ) -> Result<EventId, OutboxError> {
        let mut batch = self.batch();
        let id = batch.push(event, cause).await?;
        batch.insert(tx).await?;
        Ok(id)
    }

    /// Like [`Outbox::append`], not to be published before that time; see [`OutboxBatch::push_at`].
    ///
    /// # Errors
    /// As for [`Outbox::append`].
    pub async fn append_at<E: Event>(
        &self,
        tx: &mut PgConnection,
        event: &E,
        not_before: DateTime<Utc>,
    ) -> Result<EventId, OutboxError> {
        let mut batch = self.batch();
        let id = batch
            .push_at(event, &Cause::current(), Some(not_before))
            .await?;
        batch.insert(tx).await?;
        Ok(id)
    }

    /// Collects events that are then inserted by one statement.
    pub fn batch(&self) -> OutboxBatch<'_> {
        OutboxBatch::new(self)
    }

    /// Appends a row as it is: bytes, headers and full topic name, for records that are passed on
    /// unchanged (dead letters and replays).
    ///
    /// # Errors
    /// [`OutboxError`] when something is too large, or the insert fails.
    pub async fn append_raw(
        &self,
        tx: &mut PgConnection,
        row: OutboxRow,
    ) -> Result<(), OutboxError> {
        let mut batch = self.batch();
        batch.push_raw(row)?;
        batch.insert(tx).await
    }

    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    pub(crate) fn topic(&self, topic: &str) -> String {
        format!("{}{topic}", self.topic_prefix)
    }
}
