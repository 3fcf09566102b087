//! Finds or starts a real Kafka, PostgreSQL and schema registry, for `cargo dev` and for the tests.
//!
//! - [`Stack`]: a running stack; [`StackOptions`]: which one, where, on which ports.
//! - [`process`] and [`state`]: processes known by pid and start time, and the record of them, also for a runner's own.
//! - [`maven`]: whatever else a runner starts beside it, fetched as the stack's own parts are.
//! - [`python_env`]: an interpreter with a Kafka client that is not ours.
//!
//! ```no_run
//! # async fn example() -> Result<(), devstack::StackError> {
//! use devstack::{Stack, StackOptions, Stop};
//! let stack = Stack::start(StackOptions::private("/tmp/my-test")).await?;
//! println!("{} {} {}", stack.kafka(), stack.database_url(), stack.registry_url());
//! stack.stop_kafka(Stop::Kill).await?;
//! stack.start_kafka().await?;
//! stack.remove().await
//! # }
//! ```

mod artefacts;
mod compose;
mod error;
mod kafka;
pub mod maven;
mod options;
pub mod place;
pub mod ports;
pub mod postgres;
pub mod process;
mod python;
mod ready;
mod registry;
mod say;
mod stack;
mod start;
pub mod state;

pub use compose::engine_answers;
pub use error::StackError;
pub use options::{External, StackOptions};
pub use ports::Ports;
pub use python::python_env;
pub use say::Say;
pub use stack::{Stack, Stop, end_recorded, forget_data};
