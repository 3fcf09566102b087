//! What librdkafka reports by itself, in our logs.

use rdkafka::ClientContext;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Sorts librdkafka's reports: it reconnects by itself, so that most of them are no errors.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reports;

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            // A pattern that matches no topic yet: nothing has failed so far.
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                tracing::debug!(reason, "kafka client waits for a topic");
            }
            _ => tracing::warn!(%error, reason, "kafka client is in trouble and goes on trying"),
        }
    }
}

impl ConsumerContext for Reports {}
