//! The proofs: what the platform promises, on the real stack, with services killed and records doubled.
//!
//! One platform serves all tests. A test that kills or stops something holds the platform for itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod broker_outage;
mod compensation;
mod confirmed;
mod crash;
mod dead_letter;
mod double_delivery;
mod foreign_reader;
mod idempotency;
mod oversell;
mod poison;

use std::sync::OnceLock;

use e2e::{Client, Pipeline};
use tokio::runtime::Runtime;
use tokio::sync::RwLock;

static PLATFORM: OnceLock<(Runtime, RwLock<Pipeline>)> = OnceLock::new();

/// The platform, and the runtime that outlives each test.
fn platform() -> &'static (Runtime, RwLock<Pipeline>) {
    PLATFORM.get_or_init(|| {
        let runtime = Runtime::new().unwrap();
        let pipeline = runtime.block_on(Pipeline::start());
        (runtime, RwLock::new(pipeline))
    })
}

/// Runs a test beside others.
fn shared(test: impl AsyncFnOnce(&Pipeline, Client)) {
    let (runtime, pipeline) = platform();
    runtime.block_on(async {
        let pipeline = pipeline.read().await;
        test(&pipeline, pipeline.client()).await;
    });
}

/// Runs a test that disturbs others, alone.
fn alone(test: impl AsyncFnOnce(&Pipeline, Client)) {
    let (runtime, pipeline) = platform();
    runtime.block_on(async {
        let pipeline = pipeline.write().await;
        test(&pipeline, pipeline.client()).await;
    });
}
