//! The delivery kit: what a service on PostgreSQL and Apache Kafka needs so that no event is lost,
//! none takes effect twice, and whatever could not be processed is kept, explained and replayable.
//!
//! - [`outbox`]: events written in the service's own transaction; the relay publishes them exactly once.
//! - [`codec`]: typed events as Avro in Confluent framing, with a schema registry that may be away.
//! - [`handler`]: what a service implements to consume, and [`failure`], how it says what went wrong.
//! - [`consumer`]: records in, effects once, dead letters for what fails for good; [`retry`], how often it is tried;
//!   [`parking`], where a failing record's key waits meanwhile.
//! - [`migrate`]: the kit's tables, in schema `oncebox` of the service's database.

mod attempts;
pub mod codec;
pub mod consumer;
pub mod dead_letter;
pub mod event;
pub mod failure;
pub mod handler;
pub mod headers;
mod inbox;
pub mod kafka;
pub mod message;
pub mod migrations;
pub mod outbox;
pub(crate) mod ownership;
pub mod parking;
pub mod record;
pub mod retry;

pub use codec::{Codec, CodecError, DecodeError};
pub use consumer::{
    Consumer, ConsumerError, ConsumerHealth, ConsumerSettings, ConsumerStatus, Identity,
};
pub use event::{Event, EventId, EventSchema};
pub use failure::{BatchFailure, Classify, ErrorClass, Failure};
pub use handler::{BatchHandler, Each, Handler};
pub use headers::Headers;
pub use message::{Message, Raw};
pub use migrations::migrate;
pub use outbox::{Cause, Outbox, OutboxBatch, OutboxError, OutboxRow};
pub use parking::{OnDeadLetter, Parking};
pub use record::{Delivery, Record};
pub use retry::RetryPolicy;
