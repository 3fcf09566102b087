//! What a payment is and what may be done to it: pure, no I/O, no clock of its own.
//!
//! [`decision::decide`] is the whole policy: given what is stored about an order and a command, it says what to do next.
//! [`circuit`] decides when the provider is to be left alone.

pub mod account;
pub mod answer;
pub mod circuit;
pub mod command;
pub mod decision;
pub mod money;
pub mod operation;
pub mod payment;
