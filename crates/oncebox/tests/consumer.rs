//! The consumer on a real broker and a real PostgreSQL: each test tries to break one promise.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's helper fails the test"
)]

#[path = "consumer/churn.rs"]
mod churn;
#[path = "consumer/deployed.rs"]
mod deployed;
#[path = "consumer/duplicates.rs"]
mod duplicates;
#[path = "consumer/expired.rs"]
mod expired;
#[path = "consumer/failures.rs"]
mod failures;
#[path = "consumer/flood.rs"]
mod flood;
#[path = "consumer/foreign.rs"]
mod foreign;
#[path = "consumer/member.rs"]
mod member;
#[path = "consumer/order_free.rs"]
mod order_free;
#[path = "consumer/outages.rs"]
mod outages;
#[path = "consumer/parked_outages.rs"]
mod parked_outages;
#[path = "consumer/parking.rs"]
mod parking;
#[path = "consumer/partial.rs"]
mod partial;
#[path = "consumer/poison.rs"]
mod poison;
#[path = "consumer/provider.rs"]
mod provider;
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
#[path = "consumer/sequences.rs"]
mod sequences;
#[path = "consumer/shutdown.rs"]
mod shutdown;
#[path = "consumer/zombie.rs"]
mod zombie;
