//! What can be configured; `defaults.toml` explains each key.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The defaults, with a comment above each key.
pub const DEFAULTS: &str = include_str!("../defaults.toml");

/// The replayer's settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub http_address: String,
    pub database_url: String,
    pub database_connections: u32,
    pub kafka: String,
    pub schema_registry: String,
    pub topic_prefix: String,
    pub log_format: telemetry::LogFormat,
    pub log_filter: String,
    pub token: String,
    pub group: String,
    pub topic_refresh_ms: u64,
    pub index_batch_records: usize,
    pub retention_days: u32,
    pub kafka_timeout_ms: u64,
    pub read_time_limit_ms: u64,
    pub kafka_properties: BTreeMap<String, String>,
}

impl Settings {
    /// How long one question to Kafka may take.
    pub fn kafka_timeout(&self) -> Duration {
        Duration::from_millis(self.kafka_timeout_ms)
    }

    /// How long one page may take.
    pub fn read_time_limit(&self) -> Duration {
        Duration::from_millis(self.read_time_limit_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_complete() {
        let settings: Settings = settings::load("dlq-replayer", DEFAULTS, None).unwrap();
        assert_eq!(settings.group, "dlq-replayer");
        assert!(
            settings.token.is_empty(),
            "no token may be known from the source code"
        );
    }
}
