//! Orders: HTTP submission and the saga that carries each to its verdict.
//!
//! Rooms: [`domain`] holds the rules (pure), [`store`] the SQL, [`handlers`] what comes in from Kafka and the
//! clock, `api` what comes in by HTTP; [`run()`] puts them together.

mod api;
pub mod domain;
pub mod handlers;
mod happenings;
mod run;
mod settings;
pub mod store;
mod verdicts;

pub use run::{SERVICE, VERSION, migrate, run, start};
pub use settings::{DEFAULTS, Settings};
