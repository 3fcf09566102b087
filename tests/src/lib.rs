//! The whole platform as processes of its own, for the end-to-end tests: started on the real stack, spoken to
//! over HTTP, killed without warning.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test helper fails the test"
)]

pub mod client;
pub mod guard;
pub mod pipeline;
pub mod service;

pub use client::Client;
pub use pipeline::Pipeline;
pub use service::Service;
