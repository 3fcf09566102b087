//! The whole service: commands by Kafka, stock by HTTP, and the process killed in the middle.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod api;
mod commands;
mod killed;
mod world;
