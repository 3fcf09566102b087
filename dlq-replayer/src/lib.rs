//! The replayer: an index of dead letters, replay to the group that failed, and a look into Kafka.
//!
//! For the people who operate a pipeline: what failed, why, and how to mend it without harm.

pub mod api;
pub mod domain;
pub mod handlers;
mod happenings;
mod housekeeping;
pub mod inspect;
mod kafka_log;
pub mod replay;
mod service;
pub mod settings;
pub mod store;

pub use service::{NAME, Running, VERSION, migrate, run, start};
