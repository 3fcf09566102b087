//! The settings of this service; `defaults.toml` explains each.

use std::time::Duration;

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
    pub saga_timeout_seconds: u32,
    pub sweep_interval_seconds: u32,
    pub wait_max_seconds: u32,
    pub idempotency_days: u32,
    pub token: String,
    pub on_dead_letter: OnDeadLetter,
    pub parked_limit: usize,
    pub retry: RetryPolicy,
    pub flood: FloodPolicy,
}

/// No request is held open for longer, whatever is set.
const WAIT_MAX: u32 = 30;

impl Settings {
    /// How long an order may wait for an answer.
    #[must_use]
    pub fn saga_timeout(&self) -> Duration {
        Duration::from_secs(self.saga_timeout_seconds.max(1).into())
    }

    /// Pause between two sweeps.
    #[must_use]
    pub fn sweep_interval(&self) -> Duration {
        Duration::from_secs(self.sweep_interval_seconds.max(1).into())
    }

    /// How long an Idempotency-Key is remembered; at least a day, for a forgotten key is a new one.
    #[must_use]
    pub fn idempotency_age(&self) -> Duration {
        Duration::from_secs(u64::from(self.idempotency_days.max(1)) * 86_400)
    }

    /// The longest wait of `Prefer: wait`.
    #[must_use]
    pub fn wait_max(&self) -> Duration {
        Duration::from_secs(self.wait_max_seconds.min(WAIT_MAX).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_complete_and_nothing_else() {
        // Without the environment: a test runner sets addresses there.
        let settings: Settings = toml::from_str(DEFAULTS).unwrap();
        assert_eq!(settings.saga_timeout(), Duration::from_secs(300));
        assert!(settings.wait_max() <= Duration::from_secs(30));
        assert_eq!(settings.flood, FloodPolicy::default());
        assert_eq!(
            settings.retry,
            RetryPolicy::default(),
            "the file explains other defaults than the kit's"
        );
    }
}
