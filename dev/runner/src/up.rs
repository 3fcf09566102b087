//! `cargo dev up`: from nothing to a running platform with three orders behind it, and then there until it is ended.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use devstack::process::{Identity, tail};
use devstack::state::State;
use devstack::{Say, Stack, StackError, StackOptions};
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

use crate::story::Addresses;
use crate::{cargo, panel, platform, say, story};

/// Note in the record: the replayer's token.
pub(crate) const TOKEN: &str = "token";
/// Note in the record: set when everything is ready.
const READY: &str = "ready";

/// What to start.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Submit no orders
    #[arg(long)]
    empty: bool,
    /// Begin with empty databases and topics; without it they are those of the last time
    #[arg(long)]
    fresh: bool,
    /// Run Kafka, PostgreSQL and the registry in Docker, by docker-compose.yml
    #[arg(long)]
    docker: bool,
    /// Build the services with optimisation
    #[arg(long)]
    release: bool,
}

/// Runs it until Ctrl-C, SIGTERM, or a failure.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let dir = devstack::place::dev();
    if let Some(state) = State::read(&dir)?
        && let Some(runner) = state.runner.as_ref().filter(|runner| runner.is_alive())
    {
        return Ok(already(&state, runner));
    }
    let say = say::timed();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let ended = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    };
    tokio::pin!(ended);
    let outcome = tokio::select! {
        started = start(&options, &say) => match started {
            Ok(()) => {
                tokio::select! {
                    () = &mut ended => Ok(()),
                    failed = watch(&dir, &say) => failed,
                }
            }
            Err(error) => Err(error),
        },
        () = &mut ended => Ok(()),
    };
    if !matches!(
        outcome.as_ref().map_err(|error| error.downcast_ref()),
        Err(Some(StackError::Running { .. }))
    ) {
        println!();
        say.line("ending everything");
        devstack::end_recorded(&dir).await?;
        say.line("ended; data and logs stay for the next time");
    }
    outcome.map(|()| ExitCode::SUCCESS)
}

fn already(state: &State, runner: &Identity) -> ExitCode {
    let how = if state.notes.contains_key(READY) {
        "runs already"
    } else {
        "is starting already"
    };
    println!(
        "the platform {how} (runner pid {}); `cargo dev status` shows its parts",
        runner.pid
    );
    if let Some(order) = state.parts.get("order") {
        println!("order API: http://127.0.0.1:{}/v1/orders", order.port);
    }
    ExitCode::SUCCESS
}

async fn start(options: &Options, say: &Say) -> anyhow::Result<()> {
    let stack_options = StackOptions {
        docker: options.docker,
        reserved: platform::default_ports(),
        say: say.clone(),
        ..StackOptions::dev()
    };
    let programs = cargo::programs(options.release, say)?;
    if options.fresh {
        let dir = devstack::place::dev();
        devstack::forget_data(&dir).await?;
        // The simulated provider's: nothing there is no failure.
        let _ = std::fs::remove_file(dir.join("ledger.jsonl"));
        say.line("data of the last time removed");
    }
    let stack = Stack::start(stack_options).await?;
    let outcome = serve(&stack, &programs, options, say).await;
    // From here on the record owns the processes: they are ended through it, in order.
    stack.detach();
    outcome
}

async fn serve(
    stack: &Stack,
    programs: &std::path::Path,
    options: &Options,
    say: &Say,
) -> anyhow::Result<()> {
    let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    State::change(stack.dir(), |state| {
        state.notes.insert(TOKEN.to_owned(), token.clone());
    })?;
    platform::start(stack, programs, &token, say).await?;
    let state = State::read(stack.dir())?.unwrap_or_default();
    let ports = state
        .parts
        .into_iter()
        .map(|(name, part)| (name, part.port))
        .collect();
    let at = Addresses { ports, token };
    if !options.empty {
        tokio::select! {
            told = story::tell(&at, say) => told?,
            crashed = crash(stack) => crashed?,
        }
    }
    State::change(stack.dir(), |state| {
        state.notes.insert(READY.to_owned(), String::new());
    })?;
    panel::print(stack, &at);
    Ok(())
}

async fn crash(stack: &Stack) -> anyhow::Result<()> {
    loop {
        stack.check()?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Names every part that ends although nobody stopped it; the others run on, as they would in production.
async fn watch(dir: &std::path::Path, say: &Say) -> anyhow::Result<()> {
    let mut named = BTreeSet::new();
    loop {
        for (name, part) in State::read(dir)?.unwrap_or_default().parts {
            if part.has_crashed() {
                if named.insert(name.clone()) {
                    let log = &part.launch.log;
                    say.line(&format!(
                        "{name} has ended; the last lines of {}:\n{}",
                        log.display(),
                        tail(log, 20)
                    ));
                    say.line("the others run on; `cargo dev down` and `cargo dev up` start anew");
                }
            } else {
                named.remove(&name);
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
