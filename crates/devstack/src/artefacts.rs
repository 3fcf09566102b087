//! The programs that the embedded stack is made of: fetched once by Maven, kept, shared by all stacks and processes.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use host_tools::Need;

use crate::Say;
use crate::error::{StackError, Tried};
use crate::{place, python, state};

const POM: &str = include_str!("../assets/pom.xml");

/// Java that the registry needs.
pub(crate) const REGISTRY_JAVA: u32 = 21;

/// Fetched and unpacked, ready to start.
#[derive(Debug, Clone)]
pub(crate) struct Artefacts {
    /// Folder with the broker's jars.
    pub(crate) kafka: PathBuf,
    /// Folder with PostgreSQL's `bin`, `lib` and `share`, readable by every user.
    pub(crate) postgres: PathBuf,
    /// Folder with the registry's `quarkus-run.jar`.
    pub(crate) registry: PathBuf,
    /// A Java that runs all of it.
    pub(crate) java: PathBuf,
}

/// Finds them under `cache`, or fetches them first. Only one process fetches; the others wait for it.
pub(crate) fn fetch(cache: &Path, say: &Say) -> Result<Artefacts, StackError> {
    let kept = cache.join(format!("stack-{}", fingerprint()));
    let postgres = place::unprivileged()?
        .map_or(Ok(kept.clone()), |_| place::reachable(&kept))?
        .join("postgres");
    let complete = kept.join("complete");
    // Looked at again under the lock: whoever held it may have fetched them.
    let is_complete = || complete.is_file() && postgres.join("bin/postgres").is_file();
    if !is_complete() {
        let _lock = state::lock(&cache.join("fetch.lock"))?;
        if !is_complete() {
            host_tools::ensure(&[Need::Maven, Need::Java, Need::Archives], &|line: &str| {
                say.line(line)
            })?;
            maven(cache, &kept, say)?;
            unpack_postgres(&kept.join("postgres-archive"), &postgres, say)?;
            std::fs::write(&complete, "")
                .tried(|| format!("cannot write {}", complete.display()))?;
        }
    }
    Ok(Artefacts {
        kafka: kept.join("kafka"),
        postgres,
        registry: kept.join("registry"),
        java: java(cache, say)?,
    })
}

/// Whether fetching could work at all: Maven is there, or the artefacts are already.
pub(crate) fn are_possible(cache: &Path) -> bool {
    Need::Maven.is_met()
        || cache
            .join(format!("stack-{}", fingerprint()))
            .join("complete")
            .is_file()
}

/// Changes whenever the pinned versions do, or how they are unpacked.
fn fingerprint() -> String {
    let mut hasher = DefaultHasher::new();
    (POM, platform(), 1).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// What the PostgreSQL binaries' packager calls this machine.
fn platform() -> String {
    let system = if cfg!(target_os = "macos") {
        "darwin"
    } else {
        "linux"
    };
    let processor = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64v8",
        other => other,
    };
    format!("{system}-{processor}")
}

fn maven(cache: &Path, kept: &Path, say: &Say) -> Result<(), StackError> {
    let start = Instant::now();
    say.line("fetching Kafka, PostgreSQL and the schema registry with Maven (about 220 MB, once)");
    let pom = cache.join("pom.xml");
    std::fs::create_dir_all(kept).tried(|| format!("cannot create {}", kept.display()))?;
    let platform = format!("postgres.platform={}", platform());
    crate::maven::run(POM, &pom, &kept.join("next"), &[platform])?;
    for (from, to) in [
        ("kafka", "kafka"),
        ("registry", "registry"),
        ("postgres", "postgres-archive"),
    ] {
        let (from, to) = (kept.join("next").join(from), kept.join(to));
        // What an interrupted fetch left.
        if to.exists() {
            std::fs::remove_dir_all(&to).tried(|| format!("cannot remove {}", to.display()))?;
        }
        std::fs::rename(&from, &to).tried(|| format!("cannot keep {}", to.display()))?;
    }
    say.line(&format!(
        "fetched in {} s, kept in {}",
        start.elapsed().as_secs(),
        cache.display()
    ));
    Ok(())
}

fn unpack_postgres(archive: &Path, to: &Path, say: &Say) -> Result<(), StackError> {
    let packed = std::fs::read_dir(archive)
        .tried(|| format!("cannot read {}", archive.display()))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "txz"))
        .ok_or_else(|| StackError::Artefacts(format!("no .txz file in {}", archive.display())))?;
    if !to.starts_with(archive.parent().unwrap_or(archive)) {
        say.line(&format!(
            "PostgreSQL must not run as root and its user cannot reach {}: its binaries go to {}",
            archive.parent().unwrap_or(archive).display(),
            to.display()
        ));
    }
    std::fs::create_dir_all(to).tried(|| format!("cannot create {}", to.display()))?;
    run(
        Command::new("tar")
            .arg("-xJf")
            .arg(&packed)
            .arg("--no-same-owner")
            .arg("-C")
            .arg(to),
        "tar",
    )?;
    // A strict umask would keep the unprivileged user out.
    run(Command::new("chmod").args(["-R", "a+rX"]).arg(to), "chmod")
}

pub(crate) fn java(cache: &Path, say: &Say) -> Result<PathBuf, StackError> {
    match host_tools::java(REGISTRY_JAVA) {
        Some(java) => Ok(java),
        None => python::java(cache, say),
    }
}

/// Runs a command to its end; its last lines are the error when it fails.
pub(crate) fn run(command: &mut Command, name: &str) -> Result<(), StackError> {
    let output = command.output().tried(|| format!("cannot start {name}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<_> = said
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = lines
        .get(lines.len().saturating_sub(8)..)
        .unwrap_or(&lines)
        .join("\n  ");
    Err(StackError::Artefacts(format!(
        "{name} ended with {}\n  {last}",
        output.status
    )))
}
