//! `cargo dev`: sees to what the build itself needs, builds, and becomes the runner.
//!
//! The runner (`dev/runner`) links librdkafka and OpenSSL and takes minutes to build on a new machine; this one
//! has no dependencies, so that it can say within seconds what is missing and what is going on.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{SystemTime, UNIX_EPOCH};

use host_tools::Need;

/// Commands that must work at once, and also while the code does not compile.
const AT_ONCE: [&str; 7] = ["down", "status", "logs", "dlq", "provision", "--help", "-h"];

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, String> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let command = arguments
        .first()
        .and_then(|first| first.to_str())
        .unwrap_or("--help");
    let say = |line: &str| println!("{line}");
    let need =
        |needs: &[Need]| host_tools::ensure(needs, &say).map_err(|missing| missing.to_string());
    if command == "setup" {
        need(&Need::ALL)?;
        println!("this machine has all that the project needs");
        return Ok(ExitCode::SUCCESS);
    }
    // When we began: the runner's clock goes on from here.
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    let runner = runner()?;
    if !(AT_ONCE.contains(&command) && runner.is_file()) {
        need(&[Need::CToolchain, Need::OpenSsl])?;
        if !build(command, runner.is_file())? {
            return Ok(ExitCode::FAILURE);
        }
    }
    let error = Command::new(&runner)
        .args(if arguments.is_empty() {
            vec!["--help".into()]
        } else {
            arguments
        })
        .env("ONCEBOX_DEV_SINCE", since.to_string())
        // Becomes the runner, so that Ctrl-C and signals reach it and its exit code is ours.
        .exec();
    Err(format!("cannot start {}: {error}", runner.display()))
}

/// Builds every program of the workspace at once; for the tests, them too. One selection of packages for all
/// commands: another one would choose other features of shared dependencies, and build those again.
fn build(command: &str, quiet: bool) -> Result<bool, String> {
    let (targets, what) = match command {
        "test" => ("--all-targets", "all programs and tests"),
        _ => ("--bins", "all programs"),
    };
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--workspace", targets]);
    if matches!(command, "up" | "test" | "bench") || !quiet {
        println!(
            "[   0.0 s] building {what}{}",
            if quiet {
                ""
            } else {
                ": a few minutes, the first time"
            }
        );
    } else {
        cargo.arg("--quiet");
    }
    let status = cargo
        .status()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    Ok(status.success())
}

/// The runner's program: beside ours.
fn runner() -> Result<PathBuf, String> {
    let own =
        std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    Ok(own.with_file_name("dev-runner"))
}
