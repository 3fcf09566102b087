//! Fetching with Maven: what a pom names is fetched and unpacked once, kept by the pom's fingerprint, shared by all.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use host_tools::Need;

use crate::error::{StackError, Tried};
use crate::{Say, artefacts, place, state};

/// The folder that holds what `pom` puts under its property `to`, fetched at the first call. For whatever a runner starts
/// beside the stack; `name` is for people and for the folder. Blocks; only one process fetches, others wait for it.
///
/// # Errors
/// [`StackError::Missing`] without Maven, [`StackError::Artefacts`] when something cannot be fetched.
pub fn fetched(name: &str, pom: &str, say: &Say) -> Result<PathBuf, StackError> {
    let cache = place::artefacts();
    let mut hasher = DefaultHasher::new();
    pom.hash(&mut hasher);
    let kept = cache.join(format!("{name}-{:016x}", hasher.finish()));
    if kept.is_dir() {
        return Ok(kept);
    }
    let _lock = state::lock(&cache.join("fetch.lock"))?;
    // Looked at again under the lock: whoever held it may have fetched it.
    if kept.is_dir() {
        return Ok(kept);
    }
    host_tools::ensure(&[Need::Maven, Need::Java], &|line: &str| say.line(line))?;
    say.line(&format!("fetching {name} with Maven, once"));
    let next = cache.join(format!("{name}-next"));
    // What an interrupted fetch left.
    if next.exists() {
        std::fs::remove_dir_all(&next).tried(|| format!("cannot remove {}", next.display()))?;
    }
    run(pom, &cache.join(format!("{name}.xml")), &next, &[])?;
    std::fs::rename(&next, &kept).tried(|| format!("cannot keep {}", kept.display()))?;
    Ok(kept)
}

/// A Java that is new enough for everything of the stack, fetched where there is none. Blocks.
///
/// # Errors
/// When there is none and none can be fetched.
pub fn java(say: &Say) -> Result<PathBuf, StackError> {
    artefacts::java(&place::artefacts(), say)
}

/// Lets Maven do what the pom says, with the property `to` and others (`name=value`).
pub(crate) fn run(
    pom: &str,
    pom_file: &Path,
    to: &Path,
    properties: &[String],
) -> Result<(), StackError> {
    std::fs::write(pom_file, pom).tried(|| format!("cannot write {}", pom_file.display()))?;
    let mut command = Command::new("mvn");
    command
        .args(["-B", "-q", "-f"])
        .arg(pom_file)
        .arg(format!("-Dto={}", to.display()))
        .args(properties.iter().map(|property| format!("-D{property}")))
        .arg("process-resources")
        .stdin(Stdio::null());
    // Maven's own script finds Java in PATH only.
    if host_tools::find_on_path("java").is_none()
        && let Some(home) = host_tools::java(8)
            .as_deref()
            .and_then(Path::parent)
            .and_then(Path::parent)
    {
        command.env("JAVA_HOME", home);
    }
    artefacts::run(&mut command, "mvn")
}
