//! The consumer on a real broker and a real PostgreSQL: each test tries to break one promise.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's helper fails the test"
)]

#[path = "consumer/duplicates.rs"]
mod duplicates;
#[path = "consumer/failures.rs"]
mod failures;
#[path = "consumer/foreign.rs"]
mod foreign;
#[path = "consumer/outages.rs"]
mod outages;
#[path = "consumer/parking.rs"]
mod parking;
#[path = "consumer/poison.rs"]
mod poison;
#[path = "consumer/rebalance.rs"]
mod rebalance;
#[path = "consumer/replay.rs"]
mod replay;
#[path = "consumer/retries.rs"]
mod retries;
#[path = "consumer/rig.rs"]
mod rig;
#[path = "consumer/script.rs"]
mod script;
#[path = "consumer/shutdown.rs"]
mod shutdown;
#[path = "consumer/zombie.rs"]
mod zombie;
