//! Which librdkafka error leads where: one table. Source: librdkafka's manual, "Transactional producer",
//! and the error classes of Apache KIP-360 and KIP-1050.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::refusal::Refused;

/// What the relay does after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// The broker refuses this producer for good (guarantee G4): another relay took the source over, or the broker gave
    /// up a transaction that took too long. Which of the two, the cursor topic tells.
    Fenced,
    /// The producer is used up: a new one begins, and reads from Kafka what was committed.
    NewProducer,
    /// The transaction is aborted and its batch published again.
    Abort,
    /// The broker refuses some rows for good: aborted, and published again without them.
    Refused,
}

/// Why a batch was not published. Nothing of it is visible to a read_committed reader.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A call of the producer failed.
    #[error("{step}: {source}")]
    Kafka {
        /// Which call.
        step: &'static str,
        /// What librdkafka said.
        source: KafkaError,
    },
    /// A record was not taken, for a reason that passes.
    #[error("row {seq} (event {event_id}) for topic {topic}: {code}")]
    Record {
        /// The row's `seq`.
        seq: i64,
        /// The row's event.
        event_id: uuid::Uuid,
        /// The row's topic.
        topic: String,
        /// What the broker, or librdkafka on its behalf, said.
        code: RDKafkaErrorCode,
    },
    /// Rows that the broker will not take, or that are no records. At least one.
    #[error("{}{}", .0[0], and_more(.0.len()))]
    Refused(Vec<Refused>),
    /// The broker found fault with one of these records, by their place among the rows, and did not say which.
    #[error("one of {} records is refused", .0.len())]
    Doubt(Vec<usize>),
    /// Records of one topic were too large together, and have to be sent in smaller portions.
    #[error("records were too large together")]
    TooLargeTogether,
    /// The cursor could not be written as JSON.
    #[error("the cursor cannot be written: {problem}")]
    Cursor {
        /// Why.
        problem: String,
    },
    /// The records were not all acknowledged in time.
    #[error("records were not acknowledged within {0:?}")]
    Timeout(std::time::Duration),
}

impl PublishError {
    pub(super) fn at(step: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |source| Self::Kafka { step, source }
    }

    /// Where the error leads.
    pub fn lead(&self) -> Lead {
        match self {
            Self::Kafka {
                source: KafkaError::Transaction(error),
                ..
            } => match error.code() {
                RDKafkaErrorCode::Fenced
                | RDKafkaErrorCode::ProducerFenced
                | RDKafkaErrorCode::InvalidProducerEpoch => Lead::Fenced,
                _ if error.is_fatal() => Lead::NewProducer,
                _ if error.txn_requires_abort() => Lead::Abort,
                // Out of step with the producer's state, or timed out in a call that may be repeated only as it was.
                _ => Lead::NewProducer,
            },
            Self::Kafka { source, .. } => match source.rdkafka_error_code() {
                Some(RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced) => Lead::Fenced,
                Some(RDKafkaErrorCode::Fatal) => Lead::NewProducer,
                _ => Lead::Abort,
            },
            Self::Record { code, .. } => match code {
                RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced => Lead::Fenced,
                RDKafkaErrorCode::Fatal => Lead::NewProducer,
                _ => Lead::Abort,
            },
            Self::Refused(_) => Lead::Refused,
            Self::TooLargeTogether | Self::Doubt(_) | Self::Cursor { .. } => Lead::Abort,
            Self::Timeout(_) => Lead::Abort,
        }
    }
}

fn and_more(rows: usize) -> String {
    match rows {
        0 | 1 => String::new(),
        _ => format!(", and {} more", rows - 1),
    }
}
