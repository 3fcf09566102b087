//! Benchmarks of the platform on a stack of its own. `cargo dev bench` starts the stack and runs this in release.

mod bars;
mod figures;
mod goals;
mod ground;
mod inbox;
mod machine;
mod memory;
mod orders;
mod process;
mod program;
mod relay;
mod spread;

use clap::{Parser, Subcommand};

/// Measures the platform; prints a table, or JSON, and keeps the JSON under target/bench.
#[derive(Debug, Parser)]
#[command(name = "cargo dev bench")]
struct Cli {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Orders from submission to verdict: latency of the submission, orders a second to the end, memory at rest.
    Orders(orders::Options),
    /// The relay: drain, ceilings, latency, idle, kill -9, beside Debezium if asked for.
    Relay(relay::Options),
    /// The consumer: drain of a backlog, duplicates, failing keys, memory, beside a loop as one writes it by hand.
    Inbox(inbox::Options),
    /// What `inbox` measures, as a process of its own.
    #[command(hide = true)]
    InboxSubject(inbox::Subject),
}

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let done = runtime.block_on(async {
        match Cli::parse().bench {
            Bench::Orders(options) => orders::run(options).await,
            Bench::Relay(options) => relay::run(options).await,
            Bench::Inbox(options) => inbox::run(options).await,
            Bench::InboxSubject(subject) => subject.run().await,
        }
    });
    // After a failure a reader may still wait on its thread for what never comes; the process does not wait for it.
    runtime.shutdown_background();
    done
}
