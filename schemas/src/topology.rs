//! Every topic and consumer group of the platform: what provisioning creates and the services use.
//!
//! Names are without an environment's prefix.

use oncebox::dead_letter;

/// What the broker does with old records of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleanup {
    /// Dropped by age.
    Delete,
    /// The last record of each key stays.
    Compact,
}

/// A topic as it is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Name, without prefix.
    pub name: String,
    /// Number of partitions.
    pub partitions: i32,
    /// What happens to old records.
    pub cleanup: Cleanup,
    /// Days that records are kept; none for a compacted topic.
    pub retention_days: Option<u32>,
    /// Largest record batch in bytes; none: the broker's default.
    pub max_message_bytes: Option<u32>,
}

/// A consumer group and the topics that it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Name of the group, which is the service's name.
    pub name: &'static str,
    /// Topics, without prefix.
    pub topics: &'static [&'static str],
}

/// Partitions of every topic that is keyed by order.
pub const PARTITIONS: i32 = 6;
/// Where the relay keeps its cursors.
pub const RELAY_CURSORS: &str = "oncebox.relay.cursors";
/// Bytes that a dead letter or replay may have: a whole foreign record and its error headers.
pub const RAW_MAX_MESSAGE_BYTES: u32 = 10 * 1024 * 1024;

/// Topics that carry commands and events.
pub const EVENT_TOPICS: [&str; 6] = [
    "order.events",
    "inventory.commands",
    "inventory.events",
    "payment.commands",
    "payment.events",
    "notification.events",
];

/// Every group with a retry and dead-letter path of its own.
pub const GROUPS: [Group; 4] = [
    Group {
        name: "order",
        topics: &["inventory.events", "payment.events"],
    },
    Group {
        name: "inventory",
        topics: &["inventory.commands"],
    },
    Group {
        name: "payment",
        topics: &["payment.commands"],
    },
    Group {
        name: "notification",
        topics: &["order.events"],
    },
];

/// Every topic of the platform: events, then each group's dead letters and replays, then the relay's cursors.
pub fn topics() -> Vec<Topic> {
    let events = EVENT_TOPICS.into_iter().map(|name| Topic {
        name: name.to_owned(),
        partitions: PARTITIONS,
        cleanup: Cleanup::Delete,
        retention_days: Some(14),
        max_message_bytes: None,
    });
    let raw = |name, retention_days| Topic {
        name,
        partitions: PARTITIONS,
        cleanup: Cleanup::Delete,
        retention_days: Some(retention_days),
        max_message_bytes: Some(RAW_MAX_MESSAGE_BYTES),
    };
    let failures = GROUPS
        .into_iter()
        .flat_map(|group| group.topics.iter().map(move |topic| (*topic, group.name)))
        .flat_map(|(topic, group)| {
            [
                raw(dead_letter::topic(topic, group), 30),
                raw(dead_letter::replay_topic(topic, group), 14),
            ]
        });
    let cursors = Topic {
        name: RELAY_CURSORS.to_owned(),
        partitions: 1,
        cleanup: Cleanup::Compact,
        retention_days: None,
        max_message_bytes: None,
    };
    events.chain(failures).chain([cursors]).collect()
}
