//! The simulator's settings; every key is explained in `defaults.toml`.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use telemetry::LogFormat;

/// Defaults of every key, explained.
pub const DEFAULTS: &str = include_str!("defaults.toml");

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub http_address: String,
    pub ledger_file: String,
    pub hang_ms: u64,
    pub log_format: LogFormat,
    pub log_filter: String,
}

impl Settings {
    pub fn ledger_path(&self) -> Option<&Path> {
        (!self.ledger_file.is_empty()).then(|| Path::new(&self.ledger_file))
    }

    pub fn hang(&self) -> Duration {
        Duration::from_millis(self.hang_ms)
    }
}
