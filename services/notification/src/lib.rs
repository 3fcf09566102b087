//! Notifications: tells customers of the outcome of their orders.
//!
//! Rooms: [`domain`] holds the texts and rules (pure), [`store`] the notification log, [`mailer`] speaks SMTP,
//! [`handlers`] is what comes in from Kafka, `api` what comes in by HTTP; [`run()`] puts them together.

mod api;
pub mod domain;
pub mod handlers;
mod happenings;
pub mod mailer;
mod run;
mod settings;
pub mod store;

pub use run::{SERVICE, VERSION, migrate, run, start};
pub use settings::{DEFAULTS, Settings};
