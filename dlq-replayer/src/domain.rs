//! Types and rules of the replayer: no I/O, no clock, nothing asynchronous.

pub mod cluster;
pub mod nearest;
pub mod position;
