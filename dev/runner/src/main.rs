//! The command runner behind `cargo dev`: starts the platform, looks after it, tests and measures it.

mod cargo;
#[cfg(test)]
mod compose_test;
mod down;
mod forward;
mod http;
mod logs;
mod panel;
mod platform;
mod private;
mod provision;
mod say;
mod services;
mod status;
mod story;
mod test;
mod test_programs;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Starts, shows, tests and measures the platform on this machine.
///
/// Everything listens on loopback and keeps its state under target/dev (or ONCEBOX_DEV_DIR). Kafka, PostgreSQL and the
/// schema registry are those that ONCEBOX_KAFKA, ONCEBOX_DATABASE_URL and ONCEBOX_SCHEMA_REGISTRY point to; what is not
/// set is started, from artefacts that Maven fetches once, or in Docker (--docker, or where there is no Maven).
#[derive(Debug, Parser)]
#[command(
    name = "cargo dev",
    bin_name = "cargo dev",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build and start everything, submit three orders and show their story; stays until Ctrl-C or `cargo dev down`
    Up(up::Options),
    /// End what `cargo dev up` started, also what a killed one left; data stay for the next time
    Down,
    /// Show each part with pid, port, health and lag
    Status(status::Options),
    /// Follow the logs of one part, or of all
    Logs(logs::Options),
    /// Run all tests on a private stack, beside whatever runs; it is removed afterwards, and kept on failure
    Test(test::Options),
    /// Install what this machine lacks (as root on Debian), or say how to
    Setup,
    /// Create databases, topics and schemas on the stack that the environment points to, or the running one
    Provision,
    /// Run a benchmark on a private stack, in release; the arguments are those of the bench program
    Bench(forward::Options),
    /// Look at dead letters and replay them: the `dlq` command line with address and token of the running platform
    Dlq(forward::Options),
    /// Look at what is published and decide about refused rows: the `relay` command line, likewise
    Relay(forward::Options),
    /// Look at a service's parked keys and decide about them: `cargo dev parked payment list`, likewise
    Parked(forward::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Up(options) => up::run(options).await,
        Command::Down => down::run().await,
        Command::Status(options) => status::run(options).await,
        Command::Logs(options) => logs::run(options).await,
        Command::Test(options) => test::run(options).await,
        Command::Setup => setup(),
        Command::Provision => provision::run().await,
        Command::Bench(options) => forward::bench(options).await,
        Command::Dlq(options) => forward::become_program(forward::DLQ, &options),
        Command::Relay(options) => forward::become_program(forward::RELAY, &options),
        Command::Parked(options) => forward::parked(options),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What the launcher does already; here for a runner that is started without it.
fn setup() -> anyhow::Result<ExitCode> {
    host_tools::ensure(&host_tools::Need::ALL, &|line: &str| println!("{line}"))?;
    println!("this machine has all that the project needs");
    Ok(ExitCode::SUCCESS)
}
