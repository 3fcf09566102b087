//! `cargo dev`: sees to what the build itself needs, builds the runner, and becomes it.
//!
//! The runner (`dev/runner`) links librdkafka and OpenSSL and takes minutes to build on a new machine; this one
//! has no dependencies, so that it can say within seconds what is missing and what is going on.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use host_tools::Need;

const RUNNER: &str = "dev-runner";

fn main() -> ExitCode {
    let say = |line: &str| eprintln!("{line}");
    if let Err(missing) = host_tools::ensure(&[Need::CToolchain, Need::OpenSsl], &say) {
        eprintln!("error: {missing}");
        return ExitCode::FAILURE;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(&cargo);
    build.args(["build", "--package", RUNNER]);
    if is_built() {
        build.arg("--quiet");
    } else {
        eprintln!("building the runner, with everything that it needs: a few minutes, once");
    }
    match build.status() {
        Ok(status) if status.success() => {}
        Ok(_) => return ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: cannot start cargo: {error}");
            return ExitCode::FAILURE;
        }
    }
    let error = Command::new(cargo)
        .args(["run", "--quiet", "--package", RUNNER, "--"])
        .args(std::env::args_os().skip(1))
        // Becomes the runner, so that Ctrl-C and signals reach it and its exit code is ours.
        .exec();
    eprintln!("error: cannot start the runner: {error}");
    ExitCode::FAILURE
}

/// Whether it was built before, so that building again is quick and not worth a word.
fn is_built() -> bool {
    std::env::current_exe()
        .ok()
        .and_then(|own| own.parent().map(|folder| folder.join(RUNNER)))
        .is_some_and(|runner| Path::new(&runner).is_file())
}
