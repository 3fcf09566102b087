//! The shapes of answers and requests. The command line reads and writes the same types.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use oncebox::parking::ParkedKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// A key whose records are parked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyView {
    /// Full topic name.
    #[schema(example = "inventory.commands")]
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Names the key in decisions, whatever bytes it has.
    pub lane: Uuid,
    /// The key as text, where it is text.
    pub key: Option<String>,
    /// The key otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_base64: Option<String>,
    /// How many records wait, the failing one included.
    pub depth: u64,
    /// Failed attempts of the first of them.
    pub attempts: u32,
    /// When that one is tried next; null while the key is held.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When that one failed first.
    pub first_failed_at: Option<DateTime<Utc>>,
    /// How it failed last.
    pub last_error: Option<ErrorView>,
    /// The dead event for which the key is held.
    pub held_for: Option<Uuid>,
    /// The sequence that is missing before the first of them, where the consumer demands sequences.
    #[serde(default)]
    pub waits_for: Option<u64>,
    /// When that wait is given up.
    #[serde(default)]
    pub waits_until: Option<DateTime<Utc>>,
}

/// How a parked record failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorView {
    /// `transient`, as a rule.
    #[schema(example = "transient")]
    pub class: String,
    /// Stable code.
    #[schema(example = "payment.provider_error")]
    pub code: String,
    /// The error and its causes.
    pub message: String,
}

impl From<ParkedKey> for KeyView {
    fn from(key: ParkedKey) -> Self {
        let (text, base64) = match key
            .key
            .as_deref()
            .map(|bytes| (std::str::from_utf8(bytes), bytes))
        {
            None => (None, None),
            Some((Ok(text), _)) => (Some(text.to_owned()), None),
            Some((Err(_), bytes)) => (None, Some(BASE64.encode(bytes))),
        };
        Self {
            topic: key.place.topic,
            partition: key.place.partition,
            lane: key.place.lane.as_uuid(),
            key: text,
            key_base64: base64,
            depth: key.depth,
            attempts: key.attempts,
            next_attempt_at: key.held_for.is_none().then_some(key.next_attempt_at),
            first_failed_at: key.first_failed_at,
            last_error: key.last_error.map(|error| ErrorView {
                class: error.class,
                code: error.code,
                message: error.message,
            }),
            held_for: key.held_for,
            waits_for: key.waits_for,
            waits_until: key.waits_until,
        }
    }
}

/// What to do with a parked key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Try its first record now.
    Retry,
    /// Give its first record up, without another attempt.
    DeadLetter,
    /// Let it go on, though what it is held for stays a dead letter.
    Release,
}

impl Decision {
    /// Its name, as in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::DeadLetter => "dead_letter",
            Self::Release => "release",
        }
    }
}

/// What to do with which key, by whom and why.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"decision": "retry", "topic": "inventory.commands", "partition": 2,
    "lane": "5d41402a-bc4b-2a76-b971-9d911017c592", "actor": "kim", "reason": "the provider is back"}))]
pub struct DecisionRequest {
    /// What to do.
    pub decision: Decision,
    /// The key's topic.
    pub topic: String,
    /// The key's partition.
    pub partition: i32,
    /// The key's lane.
    pub lane: Uuid,
    /// Who decides.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// An order that the consumer carries out within about a second.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Decided {
    /// What was ordered.
    pub decision: Decision,
}
