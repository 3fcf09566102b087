//! The relay's configuration; `defaults.toml` explains every key.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::maintenance::Upkeep;
use crate::source::Limits;

/// Every key of the configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where health, metrics and status are served.
    pub http_address: String,
    /// Brokers.
    pub kafka: String,
    /// Before the cursor topic and the transactional ids; outbox rows carry full topic names.
    pub topic_prefix: String,
    /// `auto`, `text` or `json`.
    pub log_format: telemetry::LogFormat,
    /// Log directives.
    pub log_filter: String,
    /// Databases to relay, by name.
    pub sources: BTreeMap<String, String>,
    /// Rows a transaction.
    pub batch_rows: u32,
    /// Bytes a transaction.
    pub batch_bytes: u32,
    /// First pause after a look that found nothing, in milliseconds.
    pub poll_min_ms: u64,
    /// Longest pause between two looks, in milliseconds.
    pub poll_max_ms: u64,
    /// Pause before a refused row is tried again, in milliseconds.
    pub refused_retry_ms: u64,
    /// How long published rows stay in the outbox, in hours; whole days are dropped.
    pub retention_hours: u64,
    /// Pause between two rounds of maintenance, in seconds.
    pub maintenance_seconds: u64,
    /// How long a source stays another relay's that does not answer any more, in seconds; 0 is without leases.
    pub lease_seconds: u64,
    /// How long the transaction in hand may take to end when the relay is told to stop, in seconds.
    pub shutdown_seconds: u64,
}

impl Settings {
    /// Topic of the cursors.
    pub fn cursor_topic(&self) -> String {
        format!("{}oncebox.relay.cursors", self.topic_prefix)
    }

    /// The id under which the broker fences relays of one source. Shard 0 of 1: shards come with leases.
    pub fn transactional_id(&self, source: &str) -> String {
        format!("{}oncebox-relay.{source}.0", self.topic_prefix)
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            rows: i64::from(self.batch_rows.max(1)),
            bytes: i64::from(self.batch_bytes.max(1)),
        }
    }

    pub(crate) fn upkeep(&self) -> Upkeep {
        Upkeep {
            retention: Duration::from_secs(self.retention_hours.saturating_mul(3600)),
            interval: Duration::from_secs(self.maintenance_seconds.max(1)),
        }
    }

    pub(crate) fn poll_min(&self) -> Duration {
        Duration::from_millis(self.poll_min_ms.max(1))
    }

    pub(crate) fn poll_max(&self) -> Duration {
        Duration::from_millis(self.poll_max_ms.max(self.poll_min_ms).max(1))
    }
}
