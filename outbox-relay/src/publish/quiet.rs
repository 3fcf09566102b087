//! What librdkafka says by itself, in the debug log only.
//!
//! In an outage it speaks for each broker and attempt, many times a second; the instance that meets the outage tells it
//! once, with the reason.

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;

/// Context of clients that have nothing else to tell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tell(&error, reason);
    }
}

impl ConsumerContext for Quiet {}

pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    tracing::debug!(?level, facility, message, "librdkafka");
}

pub(super) fn tell(error: &KafkaError, reason: &str) {
    tracing::debug!(%error, reason, "librdkafka reports");
}
