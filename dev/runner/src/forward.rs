//! Commands that are programs of their own: given their arguments as they are, and where the platform is.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::Context;
use clap::Args;

use crate::cargo::programs;
use crate::private::{Private, run};
use crate::{platform, provision, say, up};

/// Everything after the command's name.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Arguments of the program
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// A command line of the platform, and the service that it talks to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommandLine {
    program: &'static str,
    service: &'static str,
    url: &'static str,
    token: &'static str,
}

/// `dlq`, beside the replayer.
pub(crate) const DLQ: CommandLine = CommandLine {
    program: "dlq",
    service: "dlq-replayer",
    url: "DLQ_URL",
    token: "DLQ_TOKEN",
};

/// `relay`, beside the relay.
pub(crate) const RELAY: CommandLine = CommandLine {
    program: "relay",
    service: "outbox-relay",
    url: "RELAY_URL",
    token: "RELAY_TOKEN",
};

/// `parked`, beside one of the services that consume, which comes first of the arguments.
pub(crate) fn parked(mut options: Options) -> anyhow::Result<ExitCode> {
    let consumers = ["order", "inventory", "payment", "notification"];
    let named = options.arguments.first().and_then(|first| first.to_str());
    let Some(service) = consumers.into_iter().find(|name| named == Some(*name)) else {
        anyhow::ensure!(
            named.is_none_or(|first| first.starts_with('-')),
            "{} is no service that consumes: {}",
            named.unwrap_or_default(),
            consumers.join(", ")
        );
        return become_program(parked_of("inventory"), &options);
    };
    options.arguments.remove(0);
    become_program(parked_of(service), &options)
}

fn parked_of(service: &'static str) -> CommandLine {
    CommandLine {
        program: "parked",
        service,
        url: "PARKED_URL",
        token: "PARKED_TOKEN",
    }
}

/// `cargo dev dlq`, `cargo dev relay` and `cargo dev parked`: becomes that program, with address and token of the running platform.
pub(crate) fn become_program(line: CommandLine, options: &Options) -> anyhow::Result<ExitCode> {
    let mut command = match platform::running() {
        Ok(state) => {
            let service = state
                .parts
                .get(line.service)
                .with_context(|| format!("the running platform has no {} yet", line.service))?;
            let token = state
                .notes
                .get(up::TOKEN)
                .context("the running platform has no token yet")?;
            // Beside the service that runs: the same build.
            let mut command = Command::new(service.launch.program.with_file_name(line.program));
            command
                .env(line.url, format!("http://127.0.0.1:{}", service.port))
                .env(line.token, token);
            command
        }
        // Its help needs no platform, and the variable may point to one elsewhere.
        Err(nothing_runs) => {
            let wants_help = options
                .arguments
                .iter()
                .any(|argument| argument == "--help" || argument == "-h");
            if !wants_help && std::env::var_os(line.url).is_none() {
                return Err(nothing_runs);
            }
            Command::new(devstack::place::target().join("debug").join(line.program))
        }
    };
    provision::clean(&mut command);
    let error = command.args(&options.arguments).exec();
    Err(error).with_context(|| format!("cannot start {command:?}"))
}

/// `cargo dev bench`: the bench program in release, on a private stack whose database flushes its commits.
pub(crate) async fn bench(options: Options) -> anyhow::Result<ExitCode> {
    let say = say::timed();
    let programs = programs(true, &say)?;
    let program = programs.join("bench");
    if options
        .arguments
        .iter()
        .any(|argument| argument == "--help" || argument == "-h")
        || options.arguments.is_empty()
    {
        return Err(Command::new(&program)
            .args(&options.arguments)
            .exec()
            .into());
    }
    let private = Private::start("bench", true, &say).await?;
    let mut command = Command::new(program);
    command
        .args(&options.arguments)
        .current_dir(devstack::place::root());
    private.address(&mut command, &programs);
    let status = run(command).await?;
    let failed = status.is_none_or(|status| !status.success());
    private.end(failed, &say).await?;
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
