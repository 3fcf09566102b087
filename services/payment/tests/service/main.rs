//! The whole service: commands by Kafka, the API by HTTP, and the process killed in the middle.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod api;
mod killed;
mod world;
