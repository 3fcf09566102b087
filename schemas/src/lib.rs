//! The events of the order platform as Rust types, each with its Avro schema in `schemas/avro`.
//!
//! A record's file is the contract; the type beside it is how this program reads and writes it. The tests
//! hold the two together, and every schema to what was published before (`schemas/history`).

pub mod inventory;
pub mod messages;
pub mod notification;
pub mod order;
pub mod payment;
pub mod registration;
pub mod topology;

pub use messages::{InventoryCommand, InventoryEvent, OrderEvent, PaymentCommand, PaymentEvent};
