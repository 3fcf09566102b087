//! Errors as problems, each with its code and a way out.

use http_kit::{FieldError, Kind, Problem, StatusCode};

use crate::domain::selection::Refusal;
use crate::inspect::InspectError;
use crate::replay::ReplayError;

/// The letter does not exist.
pub(super) const LETTER_UNKNOWN: Kind = Kind::new(
    StatusCode::NOT_FOUND,
    "dlq.letter_unknown",
    "no such dead letter",
);
const ALREADY_REPLAYED: Kind = Kind::new(
    StatusCode::CONFLICT,
    "dlq.already_replayed",
    "already replayed",
);
const NOT_REPLAYABLE: Kind = Kind::new(
    StatusCode::CONFLICT,
    "dlq.not_replayable",
    "the dead letter cannot be replayed",
);
const NO_REPLAY_TOPIC: Kind = Kind::new(
    StatusCode::CONFLICT,
    "dlq.no_replay_topic",
    "the replay topic does not exist",
);

const AWAY: Kind = Kind::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "kafka.away",
    "kafka does not answer",
);
const REFUSED: Kind = Kind::new(
    StatusCode::BAD_GATEWAY,
    "kafka.refused",
    "kafka refuses this",
);
const UNKNOWN_TOPIC: Kind = Kind::new(
    StatusCode::NOT_FOUND,
    "kafka.unknown_topic",
    "no such topic",
);
const UNKNOWN_PARTITION: Kind = Kind::new(
    StatusCode::NOT_FOUND,
    "kafka.unknown_partition",
    "no such partition",
);
const UNKNOWN_GROUP: Kind = Kind::new(
    StatusCode::NOT_FOUND,
    "kafka.unknown_group",
    "no such consumer group",
);
const OFFSET_NEEDS_PARTITION: Kind = Kind::new(
    StatusCode::BAD_REQUEST,
    "kafka.offset_needs_partition",
    "an offset needs a partition",
);

/// Seconds after which it makes sense to ask again.
const RETRY_AFTER: u32 = 2;

pub(super) fn letter_unknown(id: i64) -> Problem {
    Problem::of(LETTER_UNKNOWN)
        .detail(format!(
            "there is no dead letter {id}; GET /v1/dlq/letters lists them"
        ))
        .with("ids", [id])
}

/// A parameter that is wrong in itself.
pub(super) fn parameter(name: &str, detail: impl Into<String>) -> Problem {
    let detail = detail.into();
    Problem::of(http_kit::kinds::QUERY_INVALID)
        .detail(format!("{name}: {detail}"))
        .error(FieldError::parameter(name, detail))
}

/// PostgreSQL's text cannot hold U+0000, so nothing that has it can match anything.
pub(super) fn no_nul(name: &str, value: Option<&str>) -> Result<(), Problem> {
    match value {
        Some(value) if value.contains('\0') => {
            Err(parameter(name, "must not contain the character U+0000"))
        }
        _ => Ok(()),
    }
}

impl From<InspectError> for Problem {
    fn from(error: InspectError) -> Self {
        let told = error.to_string();
        match error {
            InspectError::Away { .. } => {
                tracing::warn!(%error, "kafka did not answer");
                Problem::of(AWAY).detail(told).retry_after(RETRY_AFTER)
            }
            InspectError::Refused { .. } => {
                tracing::warn!(%error, "kafka refused");
                Problem::of(REFUSED).detail(told)
            }
            InspectError::UnknownTopic { nearest, .. } => {
                unknown(UNKNOWN_TOPIC, told, nearest, "/v1/topics")
            }
            InspectError::UnknownGroup { nearest, .. } => {
                unknown(UNKNOWN_GROUP, told, nearest, "/v1/groups")
            }
            InspectError::UnknownPartition { .. } => Problem::of(UNKNOWN_PARTITION).detail(told),
            InspectError::OffsetNeedsPartition { .. } => {
                Problem::of(OFFSET_NEEDS_PARTITION).detail(format!("{told}: add partition="))
            }
            InspectError::Configuration(_) | InspectError::Panicked(_) => Problem::internal(error),
        }
    }
}

fn unknown(kind: Kind, told: String, nearest: Vec<String>, list: &str) -> Problem {
    let detail = match nearest.first() {
        Some(name) => format!("{told}; did you mean {name}?"),
        None => format!("{told}; GET {list} lists them"),
    };
    Problem::of(kind).detail(detail).with("nearest", nearest)
}

impl From<ReplayError> for Problem {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Refused(refusal) => refusal.into(),
            ReplayError::Kafka(error) => error.into(),
            ReplayError::Database(error) => error.into(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let told = refusal.to_string();
        match refusal {
            Refusal::Unknown { ids } => Problem::of(LETTER_UNKNOWN).detail(told).with("ids", ids),
            Refusal::AlreadyReplayed { ids } => Problem::of(ALREADY_REPLAYED)
                .detail(format!("{told}; to replay all the same, say so: \"again\": true, or --again on the command line (the consumer takes each event once)"))
                .with("ids", ids),
            Refusal::Impossible { id, .. } => Problem::of(NOT_REPLAYABLE).detail(told).with("ids", [id]),
            Refusal::NoTopic { topic } => {
                Problem::of(NO_REPLAY_TOPIC).detail(format!("{told}; create it, then replay")).with("topic", topic)
            }
        }
    }
}
