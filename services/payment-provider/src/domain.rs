//! What the simulated provider knows and decides: pure, no I/O, no clock.
//!
//! The ledger is event-sourced: [`ledger::Ledger::decide`] looks, [`ledger::Ledger::apply`] changes, and what is applied is
//! an [`entry::Entry`], which is also the line in the ledger file. A restart applies the same entries and knows the same.

pub mod authorization;
pub mod counts;
pub mod entry;
pub mod ledger;
pub mod mode;
pub mod money;
pub mod token;
