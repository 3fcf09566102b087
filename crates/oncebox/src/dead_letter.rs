//! Dead letters: what could not be processed, kept whole in a topic of the group that failed.

/// The dead-letter topic of a group that reads `topic`: one group's failure is no other group's business.
pub fn topic(topic: &str, group: &str) -> String {
    format!("{topic}.{group}.dlq")
}

/// The topic through which a dead letter reaches the group that failed, and only that one.
pub fn replay_topic(topic: &str, group: &str) -> String {
    format!("{topic}.{group}.replay")
}

/// Whether that is the name of a dead-letter topic.
pub fn is_dlq(name: &str) -> bool {
    name.ends_with(".dlq")
}
