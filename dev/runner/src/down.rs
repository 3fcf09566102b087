//! `cargo dev down`: ends the runner, or what a killed one left.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use devstack::state::State;

/// Ends everything; says so also when there was nothing.
pub(crate) async fn run() -> anyhow::Result<ExitCode> {
    let dir = devstack::place::dev();
    let Some(state) = State::read(&dir)? else {
        println!("nothing runs in {}", dir.display());
        return Ok(ExitCode::SUCCESS);
    };
    if let Some(runner) = state.runner.filter(devstack::process::Identity::is_alive) {
        println!("asking the runner (pid {}) to end everything", runner.pid);
        runner.ask_to_end();
        if !runner.gone_within(Duration::from_secs(60)).await {
            bail!(
                "the runner (pid {}) has not ended after 60 s; its terminal shows what it waits for",
                runner.pid
            );
        }
    }
    // What the runner could not end, or a killed one left.
    let left = State::read(&dir)?
        .unwrap_or_default()
        .parts
        .into_iter()
        .filter(|(_, part)| part.is_alive());
    for (name, _) in left {
        println!("ending {name}, which an earlier run left");
    }
    devstack::end_recorded(&dir).await?;
    println!("nothing runs any more; data stay in {}", dir.display());
    Ok(ExitCode::SUCCESS)
}
