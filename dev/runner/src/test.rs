//! `cargo dev test`: all tests on a private stack, the end-to-end suite last.
//!
//! The test programs are run one by one instead of by one `cargo test`: so their order is ours, and no second
//! selection of packages makes Cargo build shared dependencies again.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::Args;
use devstack::Say;

use crate::cargo::{cargo, programs};
use crate::private::{Private, run as run_command};
use crate::say;
use crate::test_programs::{self, Program};

/// Which tests.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only this package; more than once for several
    #[arg(short, long)]
    package: Vec<String>,
    /// Leave the end-to-end suite out
    #[arg(long)]
    no_e2e: bool,
    /// Names, or parts of names, of tests; and arguments for the test programs, such as --nocapture
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// One test program's outcome.
struct Outcome {
    name: String,
    passed: bool,
    took: Duration,
}

/// Runs them; the exit code says whether all passed.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let say = say::timed();
    let folder = programs(false, &say)?;
    let mut tests = test_programs::all()?;
    tests.retain(|test| options.package.is_empty() || options.package.contains(&test.package));
    tests.retain(|test| !(options.no_e2e && test.is_suite()));
    if tests.is_empty() {
        anyhow::bail!("no such package: {}", options.package.join(", "));
    }
    say.line(&format!("{} test programs are built", tests.len()));
    let private = Private::start("test", false, &say).await?;
    let mut outcomes = Vec::new();
    let mut commands: Vec<_> = tests
        .iter()
        .map(|test| (test.to_string(), command(test, &options)))
        .collect();
    if options.package.is_empty() && options.arguments.is_empty() {
        let mut examples = cargo();
        examples.args(["test", "--workspace", "--doc", "--quiet"]);
        commands.insert(0, ("examples in the documentation".to_owned(), examples));
    }
    for (name, mut command) in commands {
        say.line(&format!("running {name}"));
        private.address(&mut command, &folder);
        let start = Instant::now();
        let status = run_command(command).await?;
        let passed = status.is_some_and(|status| status.success());
        outcomes.push(Outcome {
            name,
            passed,
            took: start.elapsed(),
        });
        if status.is_none() {
            say.line("interrupted");
            break;
        }
    }
    let failed = outcomes.iter().any(|outcome| !outcome.passed);
    if let Err(crash) = private.stack.check() {
        say.line(&crash.to_string());
    }
    private.end(failed, &say).await?;
    summary(&say, &outcomes);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// As Cargo starts a test program: in its package's folder, which it may ask for.
fn command(test: &Program, options: &Options) -> Command {
    let mut command = Command::new(&test.program);
    command
        .args(&options.arguments)
        .current_dir(&test.folder)
        .env("CARGO_MANIFEST_DIR", &test.folder);
    command
}

fn summary(say: &Say, outcomes: &[Outcome]) {
    for outcome in outcomes
        .iter()
        .filter(|outcome| outcome.took > Duration::from_secs(5))
    {
        say.line(&format!("{:>5} s {}", outcome.took.as_secs(), outcome.name));
    }
    for outcome in outcomes.iter().filter(|outcome| !outcome.passed) {
        say.line(&format!("FAILED: {}", outcome.name));
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
    say.line(&format!(
        "{} test programs passed, {failed} failed",
        outcomes.len() - failed
    ));
}
