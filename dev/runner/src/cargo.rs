//! Builds our own programs.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// Packages whose programs a running platform consists of.
pub(crate) const SERVICES: [&str; 7] = [
    "order",
    "inventory",
    "payment",
    "notification",
    "payment-provider",
    "outbox-relay",
    "dlq-replayer",
];

/// Builds all programs of these packages; returns the folder that they are in. Cargo's own progress is shown.
pub(crate) fn build(packages: &[&str], release: bool) -> anyhow::Result<PathBuf> {
    let mut cargo = cargo();
    cargo.args(["build", "--bins"]);
    for package in packages {
        cargo.args(["--package", package]);
    }
    if release {
        cargo.arg("--release");
    }
    let status = cargo.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("the build failed; cargo says why above");
    }
    Ok(devstack::place::target().join(if release { "release" } else { "debug" }))
}

/// Cargo as we were started by, in the workspace, without our standard input.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(devstack::place::root())
        .stdin(Stdio::null());
    cargo
}
