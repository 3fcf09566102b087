//! What librdkafka says by itself, in the debug log only.
//!
//! In an outage it speaks for each broker and attempt, many times a second; the instance that meets the outage tells it
//! once, with the reason.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Context of clients that have nothing else to tell. It remembers what librdkafka said last: a call that fails says
/// that the broker could not be reached, and only this says why (TLS, a password, a name that does not resolve).
#[derive(Debug, Clone, Default)]
pub(super) struct Quiet {
    heard: Arc<Mutex<Option<String>>>,
}

impl Quiet {
    /// What was said last.
    pub(super) fn heard(&self) -> Option<String> {
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tell(&error, reason);
        // That all are away says less than why the one is.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown)
            && !matches!(error, KafkaError::PartitionEOF(_))
        {
            *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for Quiet {}

pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    tracing::debug!(?level, facility, message, "librdkafka");
}

pub(super) fn tell(error: &KafkaError, reason: &str) {
    tracing::debug!(%error, reason, "librdkafka reports");
}
