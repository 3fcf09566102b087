//! The settings of this service; `defaults.toml` explains each.

use std::time::Duration;

use oncebox::{FloodPolicy, OnDeadLetter, RetryPolicy};
use serde::{Deserialize, Serialize};

/// Every setting with its default and an explanation.
pub const DEFAULTS: &str = include_str!("defaults.toml");

/// What can be set, by file or environment.
#[derive(Clone, Serialize, Deserialize)]
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
    pub smtp_url: String,
    pub mail_from: String,
    pub smtp_timeout_ms: u32,
    pub smtp_connections: u16,
    pub token: String,
    pub on_dead_letter: OnDeadLetter,
    pub parked_limit: usize,
    pub retry: RetryPolicy,
    pub flood: FloodPolicy,
}

impl Settings {
    /// How long the mail server may take for one message.
    #[must_use]
    pub fn smtp_timeout(&self) -> Duration {
        Duration::from_millis(self.smtp_timeout_ms.max(100).into())
    }

    /// How many messages are sent at once.
    #[must_use]
    pub fn smtp_connections(&self) -> usize {
        self.smtp_connections.clamp(1, 100).into()
    }
}

impl std::fmt::Debug for Settings {
    /// Without the addresses, which may hold passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("http_address", &self.http_address)
            .field("topic_prefix", &self.topic_prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_complete_and_nothing_else() {
        // Without the environment: a test runner sets addresses there.
        let settings: Settings = toml::from_str(DEFAULTS).unwrap();
        assert_eq!(settings.smtp_url, "", "nothing is sent unless asked for");
        assert_eq!(settings.smtp_timeout(), Duration::from_secs(10));
        assert_eq!(settings.flood, FloodPolicy::default());
        assert_eq!(
            settings.retry,
            RetryPolicy::default(),
            "the file explains other defaults than the kit's"
        );
    }
}
