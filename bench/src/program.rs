//! The measured program as a process of its own, so that its processor time and memory are its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::ground::Ground;
use crate::process;

/// A running program.
pub(crate) struct Program {
    child: Child,
    pid: u32,
    log: PathBuf,
}

/// Longest wait for a program that was asked to end.
const SHUTDOWN: Duration = Duration::from_secs(60);

impl Program {
    /// Starts it in the ground's process group, its output in a log; settings of whoever runs us are not its own.
    pub(crate) fn start(ground: &Ground, mut command: Command, name: &str) -> anyhow::Result<Self> {
        let log = ground.log(name);
        let output = File::create(&log)?;
        for (variable, _) in std::env::vars_os() {
            let ours = variable.to_string_lossy().starts_with("ONCEBOX_");
            let given = command
                .as_std()
                .get_envs()
                .any(|(name, value)| name == variable && value.is_some());
            if ours && !given {
                command.env_remove(&variable);
            }
        }
        let child = command
            .process_group(ground.group())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.as_std().get_program()))?;
        let pid = child.id().context("it ended at once")?;
        Ok(Self { child, pid, log })
    }

    /// The relay on the given databases. `cursors` begins the names of its cursor topic and of its transactional ids:
    /// a new one makes a relay that has published nothing yet.
    pub(crate) fn relay(
        ground: &Ground,
        cursors: &str,
        sources: &[(String, String)],
        port: u16,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(ground.program("outbox-relay"));
        command
            .env("ONCEBOX_KAFKA", &ground.kafka)
            .env("ONCEBOX_HTTP_ADDRESS", format!("127.0.0.1:{port}"))
            .env(
                "ONCEBOX_TOPIC_PREFIX",
                format!("{}.{cursors}.", ground.name),
            )
            .env("ONCEBOX_LOG_FORMAT", "text");
        for (name, url) in sources {
            command.env(format!("ONCEBOX_SOURCES__{}", name.to_uppercase()), url);
        }
        Self::start(ground, command, "relay")
    }

    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        process::cpu_seconds(self.pid).with_context(|| self.last_words())
    }

    pub(crate) fn peak_rss_mb(&self) -> anyhow::Result<f64> {
        process::peak_rss_mb(self.pid).with_context(|| self.last_words())
    }

    /// What it has resident now.
    pub(crate) fn rss_mb(&self) -> anyhow::Result<f64> {
        process::rss_mb(self.pid).with_context(|| self.last_words())
    }

    /// What the work gives, unless the program ends before: then its last words.
    pub(crate) async fn during<T>(
        &mut self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            result = work => result,
            ended = self.child.wait() => self.ended(ended?),
        }
    }

    /// Asks it to end, and returns when it is gone. Kafka Connect sometimes hangs on its way out: what takes longer than
    /// any shutdown may is killed, and that is told.
    pub(crate) async fn terminate(mut self) -> anyhow::Result<()> {
        kill(Pid::from_raw(self.pid.try_into()?), Signal::SIGTERM)?;
        match tokio::time::timeout(SHUTDOWN, self.child.wait()).await {
            Ok(status) => {
                status?;
                Ok(())
            }
            Err(_) => {
                eprintln!(
                    "process {} did not end within {SHUTDOWN:?} and is killed",
                    self.pid
                );
                self.kill().await
            }
        }
    }

    /// Ends it as kill -9 does, and returns when it is gone.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await?;
        Ok(())
    }

    fn ended<T>(&self, status: ExitStatus) -> anyhow::Result<T> {
        bail!("the program ended with {status}; {}", self.last_words())
    }

    fn last_words(&self) -> String {
        let tail = devstack::process::tail(&self.log, 15);
        format!("its log {} ends\n{tail}", shown(&self.log))
    }
}

fn shown(log: &Path) -> std::path::Display<'_> {
    log.strip_prefix(devstack::place::root())
        .unwrap_or(log)
        .display()
}

/// A port that nobody listens on now.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}

/// Waits until this process is told to end, so that it can clean up before.
pub(crate) async fn told_to_end() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    anyhow::bail!("told to end before everything was measured")
}
