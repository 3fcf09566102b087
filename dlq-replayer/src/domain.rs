//! Types and rules of the replayer: no I/O, nothing asynchronous.

pub mod cluster;
pub mod dialect;
pub mod letter;
pub mod nearest;
pub mod position;
pub mod selection;
