//! The relay's configuration; `defaults.toml` explains every key.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::maintenance::Upkeep;
use crate::pace::Idle;
use crate::source::{Limits, Table};

/// Every key of the configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where health, metrics and status are served.
    pub http_address: String,
    /// Who may look at parked rows and decide about them; empty lets nobody.
    pub token: String,
    /// Brokers.
    pub kafka: String,
    /// Before the cursor topic and the transactional ids; outbox rows carry full topic names.
    pub topic_prefix: String,
    /// `auto`, `text` or `json`.
    pub log_format: telemetry::LogFormat,
    /// Log directives.
    pub log_filter: String,
    /// Further properties of the Kafka clients, by librdkafka's names.
    #[serde(default)]
    pub kafka_properties: BTreeMap<String, String>,
    /// Databases to relay, by name.
    pub sources: BTreeMap<String, SourceSettings>,
    /// Rows a transaction.
    pub batch_rows: u32,
    /// Bytes a transaction.
    pub batch_bytes: u32,
    /// First pause after a look that found nothing, in milliseconds.
    pub poll_min_ms: u64,
    /// Longest pause between two looks, in milliseconds.
    pub poll_max_ms: u64,
    /// Pause between two looks after five seconds without a find, in milliseconds.
    pub poll_idle_ms: u64,
    /// Pause before a refused row is tried again, in milliseconds.
    pub refused_retry_ms: u64,
    /// Topics whose refused rows are skipped instead of holding their key, separated by commas.
    pub skip_refused: String,
    /// How many rows may be parked behind refused ones in a source before it stands still.
    pub parked_max: u32,
    /// How long skipped rows are kept to be looked at, in days.
    pub dead_days: u32,
    /// How long published rows stay in the outbox, in hours; whole days are dropped.
    pub retention_hours: u64,
    /// Pause between two rounds of maintenance, in seconds.
    pub maintenance_seconds: u64,
    /// How long a source stays another relay's that does not answer any more, in seconds; 0 is without leases.
    pub lease_seconds: u64,
    /// How long the transaction in hand may take to end when the relay is told to stop, in seconds.
    pub shutdown_seconds: u64,
}

/// One database to relay: its address alone, or with the table where that is not the kit's outbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SourceSettings {
    /// The address.
    Url(String),
    /// Address and table.
    Of(Box<TableSettings>),
}

/// A table of a database.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSettings {
    /// The database's address.
    pub url: String,
    /// The table.
    #[serde(default)]
    pub table: Table,
}

impl SourceSettings {
    /// The address.
    pub fn url(&self) -> &str {
        match self {
            Self::Url(url) => url,
            Self::Of(settings) => &settings.url,
        }
    }

    /// The table.
    pub fn table(&self) -> Table {
        match self {
            Self::Url(_) => Table::default(),
            Self::Of(settings) => settings.table.clone(),
        }
    }
}

impl From<String> for SourceSettings {
    fn from(url: String) -> Self {
        Self::Url(url)
    }
}

impl From<&str> for SourceSettings {
    fn from(url: &str) -> Self {
        Self::Url(url.to_owned())
    }
}

impl Settings {
    /// Topic of the cursors.
    pub fn cursor_topic(&self) -> String {
        format!("{}oncebox.relay.cursors", self.topic_prefix)
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            rows: i64::from(self.batch_rows.max(1)),
            bytes: i64::from(self.batch_bytes.max(1)),
        }
    }

    pub(crate) fn refused_retry(&self) -> Duration {
        Duration::from_millis(self.refused_retry_ms.max(10))
    }

    /// Whether refused rows of a topic are skipped.
    pub(crate) fn skips(&self, topic: &str) -> bool {
        self.skip_refused
            .split(',')
            .map(str::trim)
            .any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => topic.starts_with(prefix),
                None => topic == pattern,
            })
    }

    pub(crate) fn upkeep(&self) -> Upkeep {
        Upkeep {
            retention: Duration::from_secs(self.retention_hours.saturating_mul(3600)),
            interval: Duration::from_secs(self.maintenance_seconds.max(1)),
            keep_dead: Duration::from_secs(u64::from(self.dead_days) * 86_400),
        }
    }

    pub(crate) fn idle(&self) -> Idle {
        let first = self.poll_min_ms.max(1);
        Idle::new(
            Duration::from_millis(first),
            Duration::from_millis(self.poll_max_ms.max(first)),
            Duration::from_millis(self.poll_idle_ms),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_topics_are_names_or_begin_with_one() {
        let mut settings: Settings = toml::from_str(crate::DEFAULTS).unwrap();
        assert!(!settings.skips("metrics"));
        settings.skip_refused = "metrics, logs.*".into();
        assert!(settings.skips("metrics") && settings.skips("logs.a"));
        assert!(!settings.skips("metrics.a") && !settings.skips("order"));
    }

    #[test]
    fn a_source_is_an_address_or_a_table_too() {
        let settings = format!(
            "{}\nplain = 'postgres://a'\n[sources.legacy]\nurl = 'postgres://b'\ntable.name = 'public.outbox'",
            crate::DEFAULTS
        );
        let settings: Settings = toml::from_str(&settings).unwrap();
        assert_eq!(settings.sources["plain"].table(), Table::default());
        let legacy = &settings.sources["legacy"];
        assert_eq!(
            (legacy.url(), legacy.table().name.as_str()),
            ("postgres://b", "public.outbox")
        );
        assert_eq!(legacy.table().seq, "seq");
    }
}
