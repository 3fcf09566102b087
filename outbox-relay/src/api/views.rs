//! The shapes of answers and requests. The command line reads and writes the same types.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use http_kit::{StatusCode, StrictJson};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::coordinator::Task;
use crate::cursor::Cursor;
use crate::reset::Goal;
use crate::source::{Decision, ParkedRow};

/// Bytes: as text where they are text, otherwise in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(examples("0199b0f4-6c1e-7e30-8f3a-3a7a7a0f6f11"))]
pub enum BytesView {
    /// UTF-8.
    Text(String),
    /// Anything else.
    Binary {
        /// All bytes.
        base64: String,
    },
}

impl From<Vec<u8>> for BytesView {
    fn from(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(
            |error| Self::Binary {
                base64: BASE64.encode(error.as_bytes()),
            },
            Self::Text,
        )
    }
}

/// What a parked row waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParkedState {
    /// The broker refuses it; tried again at `next_attempt_at`.
    Refused,
    /// Behind a refused row of its key.
    Waiting,
    /// Until `not_before`.
    Delayed,
    /// Skipped by policy or by an operator.
    Dead,
}

impl ParkedState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Waiting => "waiting",
            Self::Delayed => "delayed",
            Self::Dead => "dead",
        }
    }
}

/// A parked row, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ParkedView {
    /// Its number in the outbox; names it.
    #[schema(example = 4711)]
    pub seq: i64,
    /// Its event.
    pub event_id: Uuid,
    /// Its topic.
    #[schema(example = "order.events")]
    pub topic: String,
    /// Its key.
    pub key: Option<BytesView>,
    /// Bytes of its value; null is a tombstone.
    pub payload_bytes: Option<i32>,
    /// `refused`, `waiting`, `delayed` or `dead`.
    #[schema(example = "refused")]
    pub state: String,
    /// What the broker said last.
    pub error: Option<String>,
    /// Times that it was refused.
    pub attempts: i32,
    /// When it was written.
    pub created_at: Option<DateTime<Utc>>,
    /// When it was parked.
    pub parked_at: DateTime<Utc>,
    /// When it is tried again; only of a refused row.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Before when it is not published.
    pub not_before: Option<DateTime<Utc>>,
}

impl From<ParkedRow> for ParkedView {
    fn from(row: ParkedRow) -> Self {
        Self {
            seq: row.seq,
            event_id: row.event_id,
            topic: row.topic,
            key: row.key.map(BytesView::from),
            payload_bytes: row.payload_bytes,
            next_attempt_at: (row.state == "refused").then_some(row.next_attempt_at),
            state: row.state,
            error: row.error,
            attempts: row.attempts,
            created_at: row.created_at,
            parked_at: row.parked_at,
            not_before: row.not_before,
        }
    }
}

/// A parked row with its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ParkedDetail {
    /// The row.
    #[serde(flatten)]
    pub row: ParkedView,
    /// Its value; null is a tombstone.
    pub payload: Option<BytesView>,
    /// Its headers, as in the outbox.
    pub headers: Value,
}

/// What to do with which parked rows, and why. The rows are chosen by `seq`, or by `topic` and `key`, or by `all`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"decision": "retry", "topic": "order.events", "reason": "the topic's limit was raised", "actor": "kim"}))]
pub struct DecisionRequest {
    /// What to do.
    pub decision: Decision,
    /// This row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<i64>,
    /// Rows of this topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Rows of this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<BytesView>,
    /// All rows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Who decides.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// What became of a decision.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Decided {
    /// Rows that it concerned.
    pub rows: u64,
}

/// A line of the audit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, sqlx::FromRow)]
pub struct AuditLine {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// What: `retry`, `skip`, `discard`.
    pub action: String,
    /// Why.
    pub reason: String,
    /// Rows that it concerned.
    pub rows: i64,
    /// Which rows were meant.
    pub detail: Value,
}

/// How far a shard of a source is published.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CursorView {
    /// Which shard; 0 where the source is not divided.
    pub shard: u16,
    /// The cursor in Kafka, which decides; null before anything was published, or when it cannot be read.
    #[schema(value_type = Option<Object>)]
    pub kafka: Option<Cursor>,
    /// Its copy beside the outbox.
    #[schema(value_type = Option<Object>)]
    pub copy: Option<Cursor>,
    /// When the copy was written.
    pub copied_at: Option<DateTime<Utc>>,
}

/// Where to put a cursor, by whom and why.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"to": "adopt", "reason": "restored from the backup of 02:00", "actor": "kim"}))]
pub struct CursorRequest {
    /// Where to.
    pub to: Goal,
    /// Who decides.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// A change of a source as a whole.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ChangeView {
    /// What was asked for.
    #[schema(example = "shards 4")]
    pub task: String,
    /// When.
    pub asked_at: DateTime<Utc>,
    /// When it was done, or given up; null while it goes on.
    pub ended_at: Option<DateTime<Utc>>,
    /// Why it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The cursor at which each shard goes on.
    #[schema(value_type = Vec<Object>)]
    pub cursors: Vec<Cursor>,
}

impl ChangeView {
    pub(crate) fn begun(task: &Task) -> Self {
        Self {
            task: task.to_string(),
            asked_at: Utc::now(),
            ended_at: None,
            error: None,
            cursors: Vec::new(),
        }
    }

    pub(crate) fn end(&mut self, done: Result<Vec<Cursor>, String>) {
        self.ended_at = Some(Utc::now());
        match done {
            Ok(cursors) => self.cursors = cursors,
            Err(reason) => self.error = Some(reason),
        }
    }

    /// As an answer to whoever asked for it.
    pub(crate) fn answer(self) -> (StatusCode, StrictJson<Self>) {
        let status = if self.ended_at.is_some() {
            StatusCode::OK
        } else {
            StatusCode::ACCEPTED
        };
        (status, StrictJson(self))
    }
}

/// How a source is divided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShardsView {
    /// Into how many shards.
    #[schema(example = 4)]
    pub shards: u16,
    /// Who publishes which of them now.
    pub leases: Vec<LeaseView>,
    /// Relays that offer themselves, by host and process.
    pub relays: Vec<String>,
    /// Which relay is dividing it anew, or putting its cursors elsewhere.
    pub changed_by: Option<String>,
}

/// Who publishes a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeaseView {
    /// Which shard.
    pub shard: u16,
    /// Host and process of the relay.
    #[schema(example = "relay-1/4711")]
    pub relay: String,
}

/// Into how many shards to divide a source, by whom and why.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"shards": 4, "reason": "a second relay", "actor": "kim"}))]
pub struct DivideRequest {
    /// How many; 1 to 32.
    pub shards: u16,
    /// Who decides.
    pub actor: String,
    /// Why.
    pub reason: String,
}
