//! Reservations on a real PostgreSQL: many transactions at once, batches in every cut, everything twice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod decisions;
mod races;
mod shop;
