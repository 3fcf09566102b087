//! What can go wrong with a stack, each with a stable code and a page under `docs/errors`.

use std::path::PathBuf;

/// Why the stack could not be started, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// The machine lacks something that we may not install.
    #[error(transparent)]
    Missing(#[from] host_tools::Missing),
    /// An artefact could not be fetched or unpacked.
    #[error("cannot fetch the stack's artefacts: {0}")]
    Artefacts(String),
    /// No account without privileges, or no folder that it can read, for a PostgreSQL that refuses root.
    #[error("cannot start PostgreSQL as root: {0}")]
    Unprivileged(String),
    /// A part ended although nobody stopped it.
    #[error("{part} (pid {pid}) has ended; the last lines of {}:\n{tail}", log.display())]
    Crashed {
        /// Name of the part.
        part: String,
        /// The process that was.
        pid: u32,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A part runs but does not answer in time.
    #[error("{part} does not answer after {seconds} s ({last}); the last lines of {}:\n{tail}", log.display())]
    NotReady {
        /// Name of the part.
        part: String,
        /// How long it was waited for.
        seconds: u64,
        /// What the last attempt to reach it said.
        last: String,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A stack of that folder runs already.
    #[error("a stack runs already in {} (pid {pid})", dir.display())]
    Running {
        /// Its folder.
        dir: PathBuf,
        /// The process that started it.
        pid: u32,
    },
    /// There is no stack, or it has no such part, or the part is not ours to control.
    #[error("{0}")]
    NoSuchPart(String),
    /// No free port in reach.
    #[error("no free port on 127.0.0.1 for {0}")]
    Ports(String),
    /// Docker's answer when it failed.
    #[error("docker compose failed: {0}")]
    Docker(String),
    /// A file or process operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl StackError {
    /// Stable code, with a page under `docs/errors`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "devstack.missing_tool",
            Self::Artefacts(_) => "devstack.artefacts",
            Self::Unprivileged(_) => "devstack.unprivileged",
            Self::Crashed { .. } => "devstack.crashed",
            Self::NotReady { .. } => "devstack.not_ready",
            Self::Running { .. } => "devstack.running",
            Self::NoSuchPart(_) => "devstack.no_such_part",
            Self::Ports(_) => "devstack.ports",
            Self::Docker(_) => "devstack.docker",
            Self::Io { .. } => "devstack.io",
        }
    }
}

/// Adds what was tried to an I/O error.
pub(crate) trait Tried<T> {
    fn tried(self, what: impl FnOnce() -> String) -> Result<T, StackError>;
}

impl<T> Tried<T> for std::io::Result<T> {
    fn tried(self, what: impl FnOnce() -> String) -> Result<T, StackError> {
        self.map_err(|source| StackError::Io {
            what: what(),
            source,
        })
    }
}
