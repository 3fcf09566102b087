//! The order service on a real PostgreSQL and schema registry: HTTP in, answers in, rows and events out.
#![allow(clippy::unwrap_used, reason = "a test's helper fails the test")]

mod cancelling;
mod common;
mod kafka;
mod reading;
mod saga;
mod submission;
mod waiting;
