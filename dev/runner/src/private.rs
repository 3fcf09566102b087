//! A stack of its own for tests and benchmarks: own ports, own folder, removed afterwards, kept on failure.

use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use anyhow::Context;
use devstack::{Say, Stack, StackOptions};
use tokio::signal::unix::{SignalKind, signal};

/// A private stack and where its users log.
#[derive(Debug)]
pub(crate) struct Private {
    pub(crate) stack: Stack,
    pub(crate) logs: PathBuf,
}

impl Private {
    /// Starts one named after its purpose and our pid. What is `measured` is durable and at its best; a test's is quick. The environment's addresses are not used: they may be
    /// somebody's.
    pub(crate) async fn start(purpose: &str, measured: bool, say: &Say) -> anyhow::Result<Self> {
        sweep(purpose, say).await;
        let dir = devstack::place::target().join(format!("dev-{purpose}-{}", std::process::id()));
        let options = StackOptions {
            say: say.clone(),
            durable: measured,
            peak: measured,
            ..StackOptions::private(dir)
        };
        say.line(&format!(
            "starting a private stack in {}",
            options.dir.display()
        ));
        let stack = Stack::start(options).await?;
        let logs = stack.dir().join("logs");
        Ok(Self { stack, logs })
    }

    /// Gives a command the stack's addresses, and control of it.
    pub(crate) fn address(&self, command: &mut Command, programs: &std::path::Path) {
        command
            .env("ONCEBOX_KAFKA", self.stack.kafka())
            .env("ONCEBOX_DATABASE_URL", self.stack.database_url())
            .env("ONCEBOX_SCHEMA_REGISTRY", self.stack.registry_url())
            .env("ONCEBOX_TEST_STACK", self.stack.state_file())
            .env("ONCEBOX_TEST_LOGS", &self.logs)
            .env("ONCEBOX_TEST_BIN_DIR", programs);
    }

    /// Removes it, or stops it and says where it is kept.
    pub(crate) async fn end(self, failed: bool, say: &Say) -> anyhow::Result<()> {
        if failed {
            let dir = self.stack.dir().to_owned();
            self.stack.stop().await?;
            say.line(&format!(
                "stopped; kept for a look: {} (logs in {})",
                dir.display(),
                self.logs.display()
            ));
        } else {
            self.stack.remove().await?;
            say.line("the private stack is removed");
        }
        Ok(())
    }
}

/// Ends what killed runs left, and removes the folders of kept ones.
async fn sweep(purpose: &str, say: &Say) {
    let prefix = format!("dev-{purpose}-");
    let folders = std::fs::read_dir(devstack::place::target())
        .into_iter()
        .flatten()
        .flatten();
    for folder in folders.map(|entry| entry.path()) {
        let ours = folder
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
        let Some(state) = devstack::state::State::read(&folder)
            .ok()
            .flatten()
            .filter(|_| ours)
        else {
            continue;
        };
        if state.runner.is_some_and(|runner| runner.is_alive()) {
            continue;
        }
        if let Ok(stack) = Stack::attach(&folder)
            && stack.remove().await.is_ok()
        {
            say.line(&format!(
                "removed {}, which an earlier run left",
                folder.display()
            ));
        }
    }
}

/// Runs a command to its end, or to ours: Ctrl-C and SIGTERM reach it too, and are then reported as a failure.
pub(crate) async fn run(command: Command) -> anyhow::Result<Option<ExitStatus>> {
    let name = format!("{command:?}");
    let mut child = tokio::process::Command::from(command)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        status = child.wait() => Ok(Some(status?)),
        _ = interrupt.recv() => Ok(None),
        _ = terminate.recv() => Ok(None),
    }
}
