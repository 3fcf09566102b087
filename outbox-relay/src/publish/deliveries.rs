//! What librdkafka reports of a transaction: the records that were not taken, and the topics that this client may not write.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};

use super::quiet;

/// Remembers what was reported since it was told to forget.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    failed: Mutex<Vec<(usize, RDKafkaErrorCode)>>,
    denied: Mutex<HashSet<String>>,
}

impl Deliveries {
    /// Records that failed, by their index in the batch, in the order of the reports.
    pub(super) fn failed(&self) -> MutexGuard<'_, Vec<(usize, RDKafkaErrorCode)>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Topics that this client may not write.
    pub(super) fn denied(&self) -> MutexGuard<'_, HashSet<String>> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before a transaction.
    pub(super) fn forget(&self) {
        self.failed().clear();
        self.denied().clear();
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // The transaction fails as a whole, its records are told to be purged, and only the log names the topic.
        if facility == "ADDPARTS"
            && let Some(topic) = denied_topic(message)
        {
            self.denied().insert(topic.to_owned());
        }
        quiet::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        quiet::tell(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        if let Err((error, _)) = result {
            let code = error
                .rdkafka_error_code()
                .unwrap_or(RDKafkaErrorCode::Unknown);
            self.failed().push((index, code));
        }
    }
}

/// `… Failed to add partition "events" [0] to transaction: Broker: Topic authorization failed`
fn denied_topic(message: &str) -> Option<&str> {
    if !message.ends_with("Topic authorization failed") {
        return None;
    }
    let (_, from_name) = message.split_once("add partition \"")?;
    let (topic, _) = from_name.rsplit_once("\" [")?;
    Some(topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_topic_is_read_from_the_log() {
        let message = |problem: &str| {
            format!(
                "[thrd:main]: TxnCoordinator/1: Failed to add partition \"a.b\" [0] to transaction: Broker: {problem}"
            )
        };
        let denied = message("Topic authorization failed");
        assert_eq!(denied_topic(&denied), Some("a.b"));
        assert_eq!(denied_topic(&message("Not coordinator")), None);
    }
}
