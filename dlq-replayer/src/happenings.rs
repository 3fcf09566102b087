//! What the replayer's logs and metrics tell about.

use std::collections::BTreeMap;
use std::time::Duration;

use telemetry::Happening;
use uuid::Uuid;

/// Logs hold numbers of 64 bits; a wider one would be written as text.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// Dead letters went into the index.
pub(crate) struct LettersIndexed {
    /// How many were new, by dead-letter topic.
    pub(crate) records: BTreeMap<String, u64>,
    pub(crate) new: u64,
    pub(crate) duration: Duration,
}

impl Happening for LettersIndexed {
    fn emit(self) {
        let count: u64 = self.records.values().sum();
        tracing::info!(
            records = count,
            new = self.new,
            duration_ms = milliseconds(self.duration),
            "dead letters indexed"
        );
        for (topic, records) in self.records {
            metrics::counter!("oncebox_dlq_records_indexed_total", "topic" => topic)
                .increment(records);
        }
        metrics::histogram!("oncebox_dlq_index_batch_seconds").record(self.duration.as_secs_f64());
    }
}

/// A record could not be put into the index; it stays in its topic.
pub(crate) struct LetterNotIndexed<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) error: &'a sqlx::Error,
}

impl Happening for LetterNotIndexed<'_> {
    fn emit(self) {
        let Self {
            topic,
            partition,
            offset,
            error,
        } = self;
        tracing::error!(topic, partition, offset, %error, "dead letter not indexed: the database refuses it; it stays in its topic");
        metrics::counter!("oncebox_dlq_records_refused_total", "topic" => topic.to_owned())
            .increment(1);
    }
}

/// Indexing stopped for a while: the database or the broker is away.
pub(crate) struct IndexingPaused<'a> {
    pub(crate) error: &'a anyhow::Error,
    pub(crate) pause: Duration,
}

impl Happening for IndexingPaused<'_> {
    fn emit(self) {
        tracing::warn!(
            error = format!("{:#}", self.error),
            pause_ms = milliseconds(self.pause),
            "indexing paused"
        );
        metrics::counter!("oncebox_dlq_index_pauses_total").increment(1);
    }
}

/// Somebody replayed dead letters.
pub(crate) struct Replayed<'a> {
    pub(crate) id: Uuid,
    pub(crate) actor: &'a str,
    pub(crate) letters: u64,
}

impl Happening for Replayed<'_> {
    fn emit(self) {
        tracing::info!(replay = %self.id, actor = self.actor, letters = self.letters, "dead letters replayed");
        metrics::counter!("oncebox_dlq_replays_total").increment(1);
        metrics::counter!("oncebox_dlq_letters_replayed_total").increment(self.letters);
    }
}

/// Old letters left the index.
pub(crate) struct LettersExpired {
    pub(crate) letters: u64,
    pub(crate) days: u32,
}

impl Happening for LettersExpired {
    fn emit(self) {
        tracing::info!(
            letters = self.letters,
            retention_days = self.days,
            "old dead letters removed from the index"
        );
        metrics::counter!("oncebox_dlq_letters_expired_total").increment(self.letters);
    }
}
