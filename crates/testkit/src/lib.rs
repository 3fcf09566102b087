//! What the tests of every room share: the real stack's addresses, a database and a topic prefix of a
//! test's own, waiting for conditions, records in and out of Kafka, and a proxy that can be cut.
//!
//! For tests only: mistakes of the test itself panic with a message that says what to do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test helper fails the test"
)]

pub mod database;
pub mod handling;
pub mod kafka;
mod port;
pub mod proxy;
pub mod quota;
mod wait;

pub use database::TestDb;
pub use handling::{delivery, handle};
pub use port::free_port;
pub use proxy::Proxy;
pub use wait::eventually;

/// Address of the test stack's broker.
pub fn kafka_address() -> String {
    required("ONCEBOX_KAFKA")
}

/// Base address of the test stack's schema registry.
pub fn registry_address() -> String {
    required("ONCEBOX_SCHEMA_REGISTRY")
}

/// Address of the test stack's PostgreSQL server, with rights to create databases.
pub fn postgres_address() -> String {
    required("ONCEBOX_DATABASE_URL")
}

/// A prefix for topics and groups that no other test has.
pub fn topic_prefix() -> String {
    format!("t{}.", &uuid::Uuid::now_v7().simple().to_string()[16..])
}

/// A test without the stack is a failure with a way out, never a skipped test.
fn required(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: these tests need the real stack; run them by `cargo dev test`")
    })
}
