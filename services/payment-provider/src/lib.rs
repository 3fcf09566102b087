//! A payment provider simulator that is a real HTTP server.

pub mod domain;
pub mod store;
