//! What a cluster looks like from outside: topics, partitions, groups and their lag.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a topic is for, told by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TopicKind {
    /// Ordinary records.
    Records,
    /// Dead letters of one group.
    DeadLetters,
    /// Replays for one group.
    Replays,
    /// Kafka's own.
    Internal,
}

impl TopicKind {
    /// Judges by the name.
    pub fn of(topic: &str) -> Self {
        if topic.starts_with("__") {
            Self::Internal
        } else if oncebox::dead_letter::is_dlq(topic) {
            Self::DeadLetters
        } else if topic.ends_with(".replay") {
            Self::Replays
        } else {
            Self::Records
        }
    }
}

/// A topic in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TopicSummary {
    /// Full name.
    #[schema(example = "order.events")]
    pub topic: String,
    /// What it is for.
    pub kind: TopicKind,
    /// Number of partitions.
    #[schema(example = 3)]
    pub partitions: usize,
    /// Copies of each partition.
    #[schema(example = 1)]
    pub replication_factor: usize,
    /// Offsets between first and last of all partitions. Transaction markers and what compaction took
    /// away are counted, so there are at most this many records. Absent when a leader is away.
    #[schema(example = 1200)]
    pub offsets: Option<i64>,
}

/// A topic in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TopicDetail {
    /// Full name.
    #[schema(example = "order.events")]
    pub topic: String,
    /// What it is for.
    pub kind: TopicKind,
    /// Its partitions in order.
    pub partitions: Vec<PartitionDetail>,
    /// The settings that operators ask for, by their Kafka name.
    pub configs: BTreeMap<String, ConfigValue>,
}

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PartitionDetail {
    /// Number of the partition.
    pub partition: i32,
    /// Broker that leads it; absent while there is none.
    pub leader: Option<i32>,
    /// Brokers that hold a copy.
    pub replicas: Vec<i32>,
    /// Those of them that are up to date.
    pub in_sync: Vec<i32>,
    /// Offset of the oldest record.
    pub first_offset: Option<i64>,
    /// Offset that a read_committed consumer reaches at the end: one after the last committed record.
    pub next_offset: Option<i64>,
    /// One after the last record of all. Beyond `next_offset` lie records of transactions still open.
    pub high_watermark: Option<i64>,
}

/// A setting of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigValue {
    /// As Kafka writes it.
    #[schema(example = "604800000")]
    pub value: Option<String>,
    /// Set for this topic, rather than taken from the broker.
    pub set_here: bool,
}

/// A consumer group in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupSummary {
    /// Name of the group.
    #[schema(example = "payment")]
    pub group: String,
    /// `Stable`, `Empty`, `PreparingRebalance`, `CompletingRebalance`, `Dead`.
    #[schema(example = "Stable")]
    pub state: String,
    /// How its members share partitions, for example `cooperative-sticky`; empty while it has none.
    #[schema(example = "cooperative-sticky")]
    pub protocol: String,
    /// Number of members.
    #[schema(example = 1)]
    pub members: usize,
}

/// A consumer group in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupDetail {
    /// Name of the group.
    #[schema(example = "payment")]
    pub group: String,
    /// As in the list.
    #[schema(example = "Stable")]
    pub state: String,
    /// As in the list.
    pub protocol: String,
    /// Who is in it now.
    pub members: Vec<GroupMember>,
    /// Each partition that has a committed offset or a member.
    pub partitions: Vec<GroupPartition>,
    /// Sum of all known lags.
    pub lag: i64,
}

/// A member of a consumer group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupMember {
    /// The id that the coordinator gave it.
    pub member: String,
    /// The name that the client gave itself.
    pub client: String,
    /// Where it connects from.
    pub host: String,
    /// How many partitions it has.
    pub partitions: usize,
}

/// How far a group is in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupPartition {
    /// Full topic name.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// The committed offset: the next one to be read. Absent before the first commit.
    pub committed: Option<i64>,
    /// Offset that a read_committed consumer reaches at the end.
    pub next_offset: Option<i64>,
    /// Their difference, in offsets; 0 when only transaction markers or aborted records lie between them. Otherwise
    /// markers are counted, so there are at most this many records.
    pub lag: Option<i64>,
    /// Member that reads it now.
    pub member: Option<String>,
}
