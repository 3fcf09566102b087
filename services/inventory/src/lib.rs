//! Stock: levels, reservations, and the ledger that answers a repeated command.

pub mod domain;
