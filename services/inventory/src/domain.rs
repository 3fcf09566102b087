//! The rules of stock and reservations: pure types and functions, no I/O, no async.
//!
//! `store` loads what a batch of commands touches into a [`Warehouse`], folds the commands over
//! it in order, and writes back what changed.

pub mod command;
pub mod level;
pub mod product;
pub mod reservation;
pub mod warehouse;

pub use command::{Answer, Command, InvalidCommand, Lines, Quantity, Shortage};
pub use level::{Level, LevelError};
pub use product::{InvalidProduct, Product};
pub use reservation::{OrderId, Reservation, State};
pub use warehouse::{Changes, Refusal, Warehouse};
