//! The shapes of answers. The command line reads the same types.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

/// Bytes: as text where they are text, otherwise in base64 and hex.
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
        /// The same; absent beyond 64 KiB.
        #[serde(skip_serializing_if = "Option::is_none")]
        hex: Option<String>,
    },
}

/// A header; names may repeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeaderView {
    /// Its name.
    #[schema(example = "ce_type")]
    pub name: String,
    /// Its value; null is a header without one.
    pub value: Option<BytesView>,
}

/// A record's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "encoding", rename_all = "snake_case")]
pub enum ValueView {
    /// Avro in Confluent framing, decoded with the schema that it was written with.
    Avro {
        /// Id of that schema.
        schema_id: u32,
        /// Full name of the record.
        #[serde(rename = "type")]
        #[schema(example = "oncebox.order.OrderPlaced")]
        name: String,
        /// What it says.
        json: Value,
    },
    /// No value: a tombstone.
    None,
    /// Bytes that could not be decoded, and why.
    Raw {
        /// How many.
        size_bytes: usize,
        /// All of them.
        base64: String,
        /// The same; absent beyond 64 KiB.
        #[serde(skip_serializing_if = "Option::is_none")]
        hex: Option<String>,
        /// The same, where they are readable text.
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// Code of the error.
        #[schema(example = "decode.not_framed")]
        code: String,
        /// Why they could not be decoded.
        why: String,
    },
}

/// A record of any topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecordView {
    /// Topic.
    #[schema(example = "order.events")]
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// When it was written.
    pub timestamp: Option<DateTime<Utc>>,
    /// Key.
    pub key: Option<BytesView>,
    /// Headers in their order.
    pub headers: Vec<HeaderView>,
    /// Value.
    pub value: ValueView,
}

/// A page of records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecordPage {
    /// The records: in order within each partition, by time between partitions.
    pub items: Vec<RecordView>,
    /// Goes on after the last one: pass it as `cursor`. Always there when browsing, so that one can come back for new
    /// records; after a search only while there is something left to search.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<String>,
    /// Nothing is left before the end (or before `to`).
    pub at_end: bool,
    /// Time ran out before the page was full: what is missing may still be there, go on with `next`.
    pub truncated: bool,
    /// Records that were looked at.
    #[schema(example = 1200)]
    pub scanned: u64,
}

/// Dead letters of one group on one topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DlqTopicView {
    /// Dead-letter topic.
    #[schema(example = "payment.commands.payment.dlq")]
    pub topic: String,
    /// Topic whose consumer failed.
    #[schema(example = "payment.commands")]
    pub source_topic: Option<String>,
    /// Group that failed.
    #[schema(example = "payment")]
    pub group: Option<String>,
    /// Letters that were never replayed.
    #[schema(example = 3)]
    pub open: i64,
    /// Letters that were.
    #[schema(example = 12)]
    pub replayed: i64,
    /// When the oldest was written.
    pub oldest: DateTime<Utc>,
    /// When the newest was written.
    pub newest: DateTime<Utc>,
}

/// The list of dead-letter topics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DlqTopicList {
    /// By name.
    pub items: Vec<DlqTopicView>,
}

/// A dead letter in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LetterView {
    /// Its id here.
    #[schema(example = 17)]
    pub id: i64,
    /// `open`, or `replayed` at least once.
    #[schema(example = "open")]
    pub status: String,
    /// Dead-letter topic.
    #[schema(example = "payment.commands.payment.dlq")]
    pub topic: String,
    /// Partition there.
    pub partition: i32,
    /// Offset there.
    pub offset: i64,
    /// When it was written there.
    pub recorded_at: DateTime<Utc>,
    /// Topic whose consumer failed.
    #[schema(example = "payment.commands")]
    pub source_topic: Option<String>,
    /// Group that failed.
    #[schema(example = "payment")]
    pub group: Option<String>,
    /// The event's id.
    pub event_id: Uuid,
    /// The record's key.
    pub key: Option<BytesView>,
    /// `transient`, `permanent` or `poison`.
    #[schema(example = "permanent")]
    pub error_class: Option<String>,
    /// Code of the error.
    #[schema(example = "payment.merchant_account_missing")]
    pub error_code: Option<String>,
    /// What went wrong.
    #[schema(example = "there is no merchant account for USD")]
    pub error_message: Option<String>,
    /// How often it was tried.
    pub attempts: Option<i32>,
    /// First failed attempt.
    pub first_failed_at: Option<DateTime<Utc>>,
    /// Last failed attempt.
    pub last_failed_at: Option<DateTime<Utc>>,
    /// How often it was replayed from here.
    pub replay_count: i32,
    /// When it came into this index.
    pub indexed_at: DateTime<Utc>,
}

/// A dead letter in full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LetterDetail {
    /// As in the list.
    #[serde(flatten)]
    pub letter: LetterView,
    /// Partition that it failed in.
    pub source_partition: Option<i32>,
    /// Offset that it failed at.
    pub source_offset: Option<i64>,
    /// Where in the program it went wrong.
    pub error_site: Option<String>,
    /// Version of the service that failed.
    pub service_version: Option<String>,
    /// Its value.
    pub value: ValueView,
    /// Headers that its author wrote; a replay carries them unchanged.
    pub headers: Vec<HeaderView>,
    /// Headers that tell of the failure and of earlier replays.
    pub error_headers: Vec<HeaderView>,
    /// Topic that a replay goes to.
    #[schema(example = "payment.commands.payment.replay")]
    pub replay_topic: Option<String>,
    /// Why it cannot be replayed, if it cannot.
    pub unreplayable: Option<String>,
    /// How often the event had been replayed before it came here.
    pub prior_replays: i32,
    /// The dead letter whose replay failed again as this one, as `topic/partition/offset`.
    pub replay_of: Option<String>,
    /// The letters as which replays of this one failed again.
    pub failed_again_as: Vec<i64>,
    /// Its replays, oldest first.
    pub replays: Vec<LetterReplay>,
}

/// A replay of one letter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LetterReplay {
    /// Id of the replay.
    pub replay: Uuid,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
    /// By whom.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
    /// The how manieth replay of this letter it was.
    pub count: i32,
    /// Topic that it went to.
    pub topic: String,
}

/// What a replay did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReplayAnswer {
    /// Id of the replay; absent when nothing was replayed.
    pub replay: Option<Uuid>,
    /// Nothing was done; this is what would be.
    pub dry_run: bool,
    /// How many letters are replayed.
    #[schema(example = 3)]
    pub replayed: usize,
    /// Their ids; the first 1000.
    #[schema(example = json!([17, 18, 21]))]
    pub ids: Vec<i64>,
    /// Matching letters that cannot be replayed, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// Matching letters beyond the limit: ask again for the next.
    pub remaining: i64,
}

/// A replay on record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReplayView {
    /// Its id.
    pub replay: Uuid,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
    /// By whom.
    #[schema(example = "kim")]
    pub actor: String,
    /// Why.
    #[schema(example = "merchant account added")]
    pub reason: Option<String>,
    /// What was asked for.
    pub selection: Value,
    /// How many letters were replayed.
    #[schema(example = 3)]
    pub letters: i64,
}
