//! The settings of this service; `defaults.toml` explains each.

use std::time::Duration;

use oncebox::{FloodPolicy, OnDeadLetter, RetryPolicy};
use serde::{Deserialize, Serialize};

use crate::domain::circuit::Limits;
use crate::provider::ProviderSettings;

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
    pub provider_url: String,
    pub provider_timeout_ms: u64,
    pub provider_concurrency: usize,
    pub circuit_failures: usize,
    pub circuit_open_ms: u64,
    pub batch_max_records: usize,
    pub token: String,
    pub on_dead_letter: OnDeadLetter,
    pub parked_limit: usize,
    pub retry: RetryPolicy,
    pub flood: FloodPolicy,
}

impl Settings {
    /// How the provider is called.
    pub fn provider(&self) -> ProviderSettings {
        ProviderSettings {
            url: self.provider_url.clone(),
            timeout: Duration::from_millis(self.provider_timeout_ms.max(1)),
            circuit: Limits {
                failures: self.circuit_failures.max(1),
                open_for: Duration::from_millis(self.circuit_open_ms),
            },
        }
    }

    /// How long a batch may take when every call and every look-up after it runs into the timeout: to be cut short of that
    /// would count a slow provider against the records.
    pub fn batch_timeout(&self) -> Duration {
        let waves = self
            .batch_max_records
            .div_ceil(self.provider_concurrency.max(1));
        let wave = Duration::from_millis(self.provider_timeout_ms) * 2;
        Duration::from_secs(30) + wave * u32::try_from(waves).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_complete_and_nothing_else() {
        // Without the environment: a test runner sets addresses there.
        let settings: Settings = toml::from_str(DEFAULTS).unwrap();
        assert_eq!(settings.provider().timeout, Duration::from_secs(2));
        assert!(settings.batch_timeout() > Duration::from_secs(28));
        assert_eq!(settings.flood, FloodPolicy::default());
    }
}
