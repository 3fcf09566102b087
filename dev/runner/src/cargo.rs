//! Builds our own programs. The launcher has built them without optimisation before it started us.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use devstack::Say;

/// Folder with all of our programs; with `release` they are built first, and Cargo's own progress is shown.
pub(crate) fn programs(release: bool, say: &Say) -> anyhow::Result<PathBuf> {
    if !release {
        return Ok(devstack::place::target().join("debug"));
    }
    say.line("building all programs with optimisation: several minutes, the first time");
    let status = cargo()
        .args(["build", "--workspace", "--bins", "--release"])
        .status();
    if !status.context("cannot start cargo")?.success() {
        bail!("the build failed; cargo says why above");
    }
    say.line("built");
    Ok(devstack::place::target().join("release"))
}

/// Cargo as we were started by, in the workspace, without our standard input.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(devstack::place::root())
        .stdin(Stdio::null());
    cargo
}
