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

/// `cargo dev dlq`: becomes the `dlq` program, with address and token of the running platform.
pub(crate) fn dlq(options: &Options) -> anyhow::Result<ExitCode> {
    let mut command = match platform::running() {
        Ok(state) => {
            let replayer = state
                .parts
                .get("dlq-replayer")
                .context("the running platform has no replayer yet")?;
            let token = state
                .notes
                .get(up::TOKEN)
                .context("the running platform has no token yet")?;
            // Beside the replayer that runs: the same build.
            let mut command = Command::new(replayer.launch.program.with_file_name("dlq"));
            command
                .env("DLQ_URL", format!("http://127.0.0.1:{}", replayer.port))
                .env("DLQ_TOKEN", token);
            command
        }
        // Its help needs no platform, and DLQ_URL may point to one elsewhere.
        Err(nothing_runs) => {
            let wants_help = options
                .arguments
                .iter()
                .any(|argument| argument == "--help" || argument == "-h");
            if !wants_help && std::env::var_os("DLQ_URL").is_none() {
                return Err(nothing_runs);
            }
            Command::new(devstack::place::target().join("debug/dlq"))
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
