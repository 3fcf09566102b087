//! Payments: pre-authorise, capture and void against the provider, once.
//!
//! Rooms: [`domain`] holds the rules (pure), [`store`] the SQL, [`provider`] the calls, [`handlers`] what comes in from
//! Kafka, `api` what comes in by HTTP; [`run`] puts them together.

mod api;
pub mod domain;
pub mod handlers;
mod happenings;
pub mod provider;
mod run;
mod settings;
pub mod store;

pub use run::{SERVICE, VERSION, migrate, run, start};
pub use settings::{DEFAULTS, Settings};
