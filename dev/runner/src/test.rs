//! `cargo dev test`: everything built, then all tests on a private stack, the end-to-end suite last.

use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use devstack::Say;

use crate::cargo::{SERVICES, build, cargo};
use crate::private::{Private, run as run_command};
use crate::say;

/// Package of the end-to-end suite.
const SUITE: &str = "e2e";

/// Which tests.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only this package; more than once for several
    #[arg(short, long)]
    package: Vec<String>,
    /// Leave the end-to-end suite out
    #[arg(long)]
    no_e2e: bool,
    /// Filters and, after --, arguments for the test programs, as cargo test takes them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs them; the exit code says whether all passed.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let say = say::timed();
    let begin = Instant::now();
    say.line("building the services and the tests");
    let programs = build(&[&SERVICES[..], &["dlq-replayer"]].concat(), false)?;
    let mut compile = cargo();
    compile
        .args(["test", "--no-run", "--quiet"])
        .args(packages(&options));
    if run_command(compile)
        .await?
        .is_none_or(|status| !status.success())
    {
        anyhow::bail!("the tests do not build; cargo says why above");
    }
    say.line("built");
    let private = Private::start("test", false, &say).await?;
    let mut results = Vec::new();
    for (name, selection) in suites(&options) {
        say.line(&format!("running {name}"));
        let start = Instant::now();
        let mut command = cargo();
        command.arg("test").arg("--no-fail-fast").args(&selection);
        // One process of the suite starts a platform of its own several times over.
        command.args(&options.arguments);
        private.address(&mut command, &programs);
        let status = run_command(command).await?;
        let interrupted = status.is_none();
        results.push((
            name,
            status.is_some_and(|status| status.success()),
            start.elapsed(),
        ));
        if interrupted {
            say.line("interrupted");
            break;
        }
    }
    let failed = results.iter().any(|(_, passed, _)| !passed);
    if failed && let Err(crash) = private.stack.check() {
        say.line(&crash.to_string());
    }
    private.end(failed, &say).await?;
    summary(&say, &results, begin);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn summary(say: &Say, results: &[(&str, bool, std::time::Duration)], begin: Instant) {
    for (name, passed, took) in results {
        let verdict = if *passed { "passed" } else { "FAILED" };
        say.line(&format!("{verdict}: {name} ({} s)", took.as_secs()));
    }
    let minutes = begin.elapsed().as_secs_f64() / 60.0;
    say.line(&format!("{:.1} minutes from building to the end", minutes));
}

/// The suites in the order in which they run: quick ones first, so that a broken rule shows before the long suite.
fn suites(options: &Options) -> Vec<(&'static str, Vec<String>)> {
    if !options.package.is_empty() {
        return vec![("the chosen packages", packages(options))];
    }
    let mut suites = vec![(
        "tests of all crates",
        ["--workspace", "--exclude", SUITE]
            .map(str::to_owned)
            .to_vec(),
    )];
    if !options.no_e2e {
        suites.push((
            "end-to-end suite",
            ["--package", SUITE].map(str::to_owned).to_vec(),
        ));
    }
    suites
}

fn packages(options: &Options) -> Vec<String> {
    if options.package.is_empty() {
        return vec!["--workspace".to_owned()];
    }
    options
        .package
        .iter()
        .flat_map(|name| ["--package".to_owned(), name.clone()])
        .collect()
}
