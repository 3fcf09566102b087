//! Stock: levels, reservations, and the ledger that answers a repeated command.

pub mod domain;
pub mod handlers;
pub mod happenings;
pub mod store;
