//! The settings of this service; `defaults.toml` explains each.

use oncebox::{FloodPolicy, OnDeadLetter, RetryPolicy};
use serde::{Deserialize, Serialize};

/// Every setting with its default and an explanation.
pub const DEFAULTS: &str = include_str!("defaults.toml");

/// What can be set, by file or environment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "defaults.toml explains each key")]
pub struct Settings {
    pub http_address: String,
    pub database_url: String,
    pub database_connections: u32,
    pub kafka: String,
    pub schema_registry: String,
    pub topic_prefix: String,
    pub log_format: telemetry::LogFormat,
    pub log_filter: String,
    pub batch_max_records: usize,
    pub token: String,
    pub on_dead_letter: OnDeadLetter,
    pub parked_limit: usize,
    pub retry: RetryPolicy,
    pub flood: FloodPolicy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_complete_and_nothing_else() {
        // Without the environment: a test runner sets addresses there.
        let settings: Settings = toml::from_str(DEFAULTS).unwrap();
        assert_eq!(settings.retry.retries, 5);
        assert_eq!(settings.flood, FloodPolicy::default());
    }
}
