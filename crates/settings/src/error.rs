//! What can be wrong with a configuration, said so that it can be mended.

use std::{fmt, path::PathBuf};

/// A configuration was refused. The message names each key, where its value came from, and the way out.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file named by `--config` cannot be read.
    #[error("configuration file {} cannot be read: {cause}", path.display())]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{origin} is not valid TOML: {reason}")]
    FileInvalid {
        /// The file's name, or the built-in defaults.
        origin: String,
        /// Where and what.
        reason: String,
    },
    /// Keys that nobody knows, values of the wrong kind, settings that are missing: all of them, not the first alone.
    #[error("configuration of {service} refused:{}", Lines(.refused))]
    Refused {
        /// The service.
        service: String,
        /// Everything that is wrong.
        refused: Vec<Refused>,
    },
}

impl SettingsError {
    /// Stable code; `docs/errors/<code>.md` explains it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::FileUnreadable { .. } => "settings.file_unreadable",
            Self::FileInvalid { .. } => "settings.file_invalid",
            Self::Refused { .. } => "settings.refused",
        }
    }
}

/// One key that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The key, as a dotted path: `retry.retries`.
    pub key: String,
    /// Where the value came from: a file's name or an environment variable's. `None` when nothing set it.
    pub origin: Option<String>,
    /// What is wrong, and the way out.
    pub reason: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.reason)?;
        self.origin
            .as_ref()
            .map_or(Ok(()), |origin| write!(f, " (set by {origin})"))
    }
}

struct Lines<'a>(&'a [Refused]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|refused| write!(f, "\n  {refused}"))
    }
}
