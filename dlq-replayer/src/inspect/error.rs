//! Why a question to Kafka has no answer.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Why a question to Kafka has no answer.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// librdkafka does not take the configuration.
    #[error("kafka configuration refused: {0}")]
    Configuration(#[source] KafkaError),
    /// No broker answered in time.
    #[error("kafka did not answer ({doing}): {source}")]
    Away {
        /// What was asked.
        doing: &'static str,
        /// What librdkafka said.
        source: KafkaError,
    },
    /// A broker answered with a refusal.
    #[error("kafka refused to {doing}: {source}")]
    Refused {
        /// What was asked.
        doing: &'static str,
        /// What the broker said.
        source: KafkaError,
    },
    /// There is no such topic.
    #[error("there is no topic {topic}")]
    UnknownTopic {
        /// The name that was given.
        topic: String,
        /// Names like it.
        nearest: Vec<String>,
    },
    /// The topic has no such partition.
    #[error("topic {topic} has {count} partitions, 0 to {last}, and no partition {partition}", last = count.saturating_sub(1))]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition that was asked for.
        partition: i32,
        /// How many it has.
        count: usize,
    },
    /// There is no such consumer group.
    #[error("there is no consumer group {group}")]
    UnknownGroup {
        /// The name that was given.
        group: String,
        /// Names like it.
        nearest: Vec<String>,
    },
    /// An offset without a partition.
    #[error("offset {offset} means nothing without a partition")]
    OffsetNeedsPartition {
        /// The offset that was given.
        offset: i64,
    },
    /// A mistake in this program.
    #[error("the inspection failed inside: {0}")]
    Panicked(#[source] tokio::task::JoinError),
}

impl InspectError {
    /// Sorts what librdkafka said into away (waiting helps) and refused (it does not).
    pub(super) fn away(doing: &'static str, source: KafkaError) -> Self {
        let refused = matches!(
            source.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                    | RDKafkaErrorCode::GroupAuthorizationFailed
                    | RDKafkaErrorCode::ClusterAuthorizationFailed
                    | RDKafkaErrorCode::SaslAuthenticationFailed
                    | RDKafkaErrorCode::InvalidGroupId
                    | RDKafkaErrorCode::InvalidTopic
            )
        );
        if refused {
            Self::Refused { doing, source }
        } else {
            Self::Away { doing, source }
        }
    }

    /// Stable code, with a page under `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Configuration(_) => "kafka.configuration",
            Self::Away { .. } => "kafka.away",
            Self::Refused { .. } => "kafka.refused",
            Self::UnknownTopic { .. } => "kafka.unknown_topic",
            Self::UnknownPartition { .. } => "kafka.unknown_partition",
            Self::UnknownGroup { .. } => "kafka.unknown_group",
            Self::OffsetNeedsPartition { .. } => "kafka.offset_needs_partition",
            Self::Panicked(_) => "replayer.internal",
        }
    }

    /// Whether waiting helps.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Away { .. })
    }
}
