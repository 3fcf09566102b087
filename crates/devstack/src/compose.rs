//! The stack's parts in containers, by the repository's `docker-compose.yml`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{StackError, Tried};
use crate::{kafka, place, postgres, registry};

/// Whether `docker compose` is there and an engine answers.
#[must_use]
pub fn engine_answers() -> bool {
    succeeds(&["compose", "version"]) && succeeds(&["info"])
}

/// Host ports of the three parts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostPorts {
    pub(crate) kafka: u16,
    pub(crate) postgres: u16,
    pub(crate) registry: u16,
}

/// One compose project of ours.
#[derive(Debug, Clone)]
pub(crate) struct Project(pub(crate) String);

impl Project {
    /// A name that tells stacks in different folders apart.
    pub(crate) fn of(dir: &Path) -> Self {
        let name = dir.file_name().map_or_else(
            || "dev".to_owned(),
            |name| name.to_string_lossy().to_lowercase(),
        );
        let safe: String = name
            .chars()
            .map(|letter| {
                if letter.is_ascii_alphanumeric() {
                    letter
                } else {
                    '-'
                }
            })
            .collect();
        Self(format!("oncebox-{safe}"))
    }

    /// Starts Kafka, PostgreSQL and the registry, and waits until their health checks pass.
    pub(crate) fn up(&self, ports: HostPorts) -> Result<(), StackError> {
        let mut command = self.command();
        command
            .args([
                "up",
                "--detach",
                "--wait",
                kafka::NAME,
                postgres::NAME,
                registry::NAME,
            ])
            .env("ONCEBOX_KAFKA_PORT", ports.kafka.to_string())
            .env("ONCEBOX_POSTGRES_PORT", ports.postgres.to_string())
            .env("ONCEBOX_REGISTRY_PORT", ports.registry.to_string());
        run(command)
    }

    /// Does something to one part: `stop`, `kill`, `start`, `pause`, `unpause`.
    pub(crate) fn part(&self, verb: &str, part: &str) -> Result<(), StackError> {
        let mut command = self.command();
        command.args([verb, part]);
        run(command)
    }

    /// Ends all parts; with `volumes` their data goes too.
    pub(crate) fn down(&self, volumes: bool) -> Result<(), StackError> {
        let mut command = self.command();
        command.arg("down");
        if volumes {
            command.arg("--volumes");
        }
        run(command)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("docker");
        command
            .args(["compose", "--project-name", &self.0, "--file"])
            .arg(file())
            .stdin(Stdio::null());
        command
    }
}

fn file() -> PathBuf {
    place::root().join("docker-compose.yml")
}

fn run(mut command: Command) -> Result<(), StackError> {
    let output = command
        .output()
        .tried(|| "cannot start docker".to_owned())?;
    if output.status.success() {
        return Ok(());
    }
    Err(StackError::Docker(
        String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    ))
}

fn succeeds(arguments: &[&str]) -> bool {
    Command::new("docker")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
