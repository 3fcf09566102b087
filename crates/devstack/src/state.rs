//! The record of what runs: one file a stack, from which the next runner, a test or `cargo dev down` finds every part.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{StackError, Tried};
use crate::process::{Identity, Launch};

/// Name of the record in a stack's folder.
pub const FILE: &str = "state.json";

/// What a stack is made of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Who started it, and ends it.
    pub runner: Option<Identity>,
    /// Kafka's bootstrap address.
    pub kafka: String,
    /// URL of the PostgreSQL server, as an administrator, without a certain service's database.
    pub database_url: String,
    /// Base URL of the registry's Confluent API.
    pub registry_url: String,
    /// Name of the Docker compose project that the stack's parts run in; none: they do not.
    #[serde(default)]
    pub compose_project: Option<String>,
    /// Folders outside the stack's own that go when it is removed.
    #[serde(default)]
    pub elsewhere: Vec<PathBuf>,
    /// Parts by name, the stack's own and whatever a runner adds.
    #[serde(default)]
    pub parts: BTreeMap<String, Part>,
    /// What a runner keeps beside: a token, whether it is ready.
    #[serde(default)]
    pub notes: BTreeMap<String, String>,
}

/// One process of a stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The process; none: stopped on purpose.
    pub process: Option<Identity>,
    /// How it is started again.
    pub launch: Launch,
    /// Where it listens.
    pub port: u16,
    /// Order of starting; parts are ended in the opposite one.
    pub order: u32,
}

impl Part {
    /// Whether it should run and does not.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        self.process
            .as_ref()
            .is_some_and(|process| !process.is_alive())
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.process.as_ref().is_some_and(Identity::is_alive)
    }
}

impl State {
    /// The record in that folder; none when there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is not a record.
    pub fn read(folder: &Path) -> Result<Option<Self>, StackError> {
        let path = folder.join(FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).tried(|| format!("cannot read {}", path.display())),
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(std::io::Error::other)
            .tried(|| {
                format!(
                    "cannot understand {}; remove it to start anew",
                    path.display()
                )
            })
    }

    /// Changes the record. Several processes may do so at once: each change is made on the newest record and is there
    /// as a whole or not at all.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn change(folder: &Path, change: impl FnOnce(&mut Self)) -> Result<Self, StackError> {
        let _lock = lock(&folder.join("state.lock"))?;
        let mut state = Self::read(folder)?.unwrap_or_default();
        change(&mut state);
        let path = folder.join(FILE);
        let next = folder.join("state.json.next");
        let write = || -> std::io::Result<()> {
            // Readable for us alone: it holds the replayer's token.
            let mut file = OpenOptions::new()
                .create(true)
                .write(true)
                .truncate(true)
                .mode(0o600)
                .open(&next)?;
            file.write_all(&serde_json::to_vec_pretty(&state)?)?;
            std::fs::rename(&next, &path)
        };
        write().tried(|| format!("cannot write {}", path.display()))?;
        Ok(state)
    }
}

/// Takes a lock that other processes see, waiting for it; it is gone when the file is dropped or the process ends.
///
/// # Errors
/// When the lock file cannot be made.
pub(crate) fn lock(path: &Path) -> Result<File, StackError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).tried(|| format!("cannot create {}", folder.display()))?;
    }
    let open = || {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        file.lock()?;
        Ok(file)
    };
    open().tried(|| format!("cannot lock {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn no_change_is_lost_when_many_change_at_once_and_nobody_else_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let folder = folder.path();
                scope.spawn(move || {
                    for change in 0..10 {
                        State::change(folder, |state| {
                            state
                                .notes
                                .insert(format!("{writer}-{change}"), String::new());
                        })
                        .unwrap();
                    }
                });
            }
        });
        assert_eq!(State::read(folder.path()).unwrap().unwrap().notes.len(), 80);
        let mode = std::fs::metadata(folder.path().join(FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_record_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(State::read(folder.path()).unwrap(), None);
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        let error = State::read(folder.path()).unwrap_err();
        assert!(error.to_string().contains(FILE), "{error}");
    }
}
