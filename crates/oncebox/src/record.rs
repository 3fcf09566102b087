//! A record as Kafka delivered it, and the same record decoded.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use telemetry::TraceContext;
use uuid::Uuid;

use crate::event::EventId;
use crate::headers::{Headers, names};
use crate::outbox::Cause;

/// One record of a topic, bytes untouched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Full topic name, with any prefix.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// When the producer or the broker stamped it.
    pub timestamp: Option<DateTime<Utc>>,
    /// Key.
    pub key: Option<Bytes>,
    /// Value; absent is a tombstone.
    pub value: Option<Bytes>,
    /// Headers.
    pub headers: Headers,
}

impl Record {
    /// The event's id by its headers, where they have one.
    pub fn header_event_id(&self) -> Option<EventId> {
        [names::ID, names::CE_ID]
            .into_iter()
            .find_map(|name| self.headers.get_str(name)?.parse().ok())
    }

    /// The event's id; for a record without one, an id made from where it lies, the same at every delivery.
    pub fn event_id(&self) -> EventId {
        self.header_event_id().unwrap_or_else(|| self.position_id())
    }

    /// An id made from topic, partition and offset alone (UUIDv5, RFC 9562).
    pub fn position_id(&self) -> EventId {
        let position = format!("{}/{}/{}", self.topic, self.partition, self.offset);
        EventId::from_uuid(Uuid::new_v5(&Uuid::NAMESPACE_URL, position.as_bytes()))
    }

    /// Memory that it takes, about.
    pub(crate) fn footprint(&self) -> usize {
        size_of::<Self>() + self.size_bytes() + self.headers.len() * crate::headers::ENTRY_BYTES
    }

    /// Bytes of key, value and headers together.
    pub fn size_bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len)
            + self.value.as_ref().map_or(0, Bytes::len)
            + self.headers.size_bytes()
    }
}

/// A record and what it says.
#[derive(Debug, Clone)]
pub struct Delivery<M> {
    /// What it decodes to.
    pub message: M,
    /// The event's id, which the consumer deduplicates by.
    pub event_id: EventId,
    /// The record.
    pub record: Record,
}

impl<M> Delivery<M> {
    /// The cause to give to events that this record leads to: its correlation, its id, its trace. Handling the record is a
    /// span of the producer's trace, the same however often this process is asked.
    pub fn cause(&self) -> Cause {
        let headers = &self.record.headers;
        Cause {
            correlation: headers
                .get_str(names::CORRELATION_ID)
                .map_or_else(|| self.event_id.to_string(), str::to_owned),
            causation: Some(self.event_id),
            trace: self
                .producer()
                .map_or_else(TraceContext::root, |producer| self.span(&producer)),
        }
    }

    /// Where the producer was in a trace, if it says so.
    pub(crate) fn producer(&self) -> Option<TraceContext> {
        let text = self.record.headers.get_str(names::TRACEPARENT)?;
        text.parse().ok()
    }

    /// The span in which the record is handled. Two groups of one process have messages of their own, and so spans.
    pub(crate) fn span(&self, producer: &TraceContext) -> TraceContext {
        let (id, message) = (self.event_id.as_uuid(), std::any::type_name::<M>());
        producer.child_for(&(id, message))
    }
}
