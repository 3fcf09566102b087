//! The notification service on a real PostgreSQL, schema registry and Kafka, with a mail server of the test's own.
#![allow(clippy::unwrap_used, reason = "a test's helper fails the test")]

mod common;
mod kafka;
mod listing;
mod sending;
mod smtp;
mod trouble;
