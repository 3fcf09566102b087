//! Stock: levels, reservations, and the ledger that answers a repeated command.
//!
//! Rooms: [`domain`] holds the rules (pure), [`store`] the SQL, [`handlers`] what comes in from Kafka, `api` what
//! comes in by HTTP; [`run`] puts them together.

mod api;
pub mod domain;
pub mod handlers;
mod happenings;
mod run;
mod settings;
pub mod store;

pub use run::{SERVICE, VERSION, migrate, run, start};
pub use settings::{DEFAULTS, Settings};
