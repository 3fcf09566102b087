//! The replayer: an index of dead letters, replay to the group that failed, and a look into Kafka.
//!
//! For the people who operate a pipeline: what failed, why, and how to mend it without harm.

pub mod domain;
pub mod inspect;
