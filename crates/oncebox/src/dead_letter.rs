//! Dead letters: what could not be processed, kept whole in a topic of the group that failed.
//!
//! A dead letter is an outbox row, written in the transaction that marks the event as dead: it is neither lost
//! nor written twice. Key, value and every header of the record stay as they were; headers that say what
//! happened are added, under the names that Kafka itself is standardising (KIP-1191) where there is one.

mod letter;

pub(crate) use letter::Letter;

/// Names of the headers that a dead letter adds.
pub mod names {
    /// Topic that the record was read from, which may be the group's replay topic.
    pub const TOPIC: &str = "__dlq.errors.topic";
    /// Partition that the record was read from, in decimal.
    pub const PARTITION: &str = "__dlq.errors.partition";
    /// Offset of the record, in decimal.
    pub const OFFSET: &str = "__dlq.errors.offset";
    /// The group that failed, without prefix.
    pub const GROUP: &str = "__dlq.errors.group";
    /// Attempts that were counted, in decimal.
    pub const DELIVERY_COUNT: &str = "__dlq.errors.delivery.count";
    /// What happened, for people; cut where it is long.
    pub const MESSAGE: &str = "__dlq.errors.message";
    /// `transient`, `permanent` or `poison`.
    pub const ERROR_CLASS: &str = "oncebox-error-class";
    /// Stable code of the error.
    pub const ERROR_CODE: &str = "oncebox-error-code";
    /// Source file and line where the error was classified.
    pub const ERROR_SITE: &str = "oncebox-error-site";
    /// When the event failed for the very first time, RFC 3339; a replay that fails again keeps it.
    pub const FIRST_FAILED_AT: &str = "oncebox-first-failed-at";
    /// When it failed last, RFC 3339.
    pub const LAST_FAILED_AT: &str = "oncebox-last-failed-at";
    /// Version of the service that failed.
    pub const SERVICE_VERSION: &str = "oncebox-service-version";
    /// Identity under which the consumer keeps a record that has no usable event id of its own. It stays
    /// on a replay, so that a second replay is recognised.
    pub const EVENT_ID: &str = "oncebox-event-id";
    /// On a replay: the dead letter it came from, `topic/partition/offset`.
    pub const REPLAY_OF: &str = "oncebox-replay-of";
    /// On a replay: how often the event was replayed.
    pub const REPLAY_COUNT: &str = "oncebox-replay-count";
    /// On a replay: `true` where it is to be handled even if the inbox may have forgotten that it was handled already.
    pub const REPLAY_FORCED: &str = "oncebox-replay-forced";
}

/// The dead-letter topic of a group that reads `topic`: one group's failure is no other group's business.
pub fn topic(topic: &str, group: &str) -> String {
    format!("{topic}.{group}.dlq")
}

/// The topic through which a dead letter reaches the group that failed, and only that one.
pub fn replay_topic(topic: &str, group: &str) -> String {
    format!("{topic}.{group}.replay")
}

/// The topic whose dead letters come back through that replay topic; none when it is not this group's replay topic.
pub fn replayed_topic<'a>(name: &'a str, group: &str) -> Option<&'a str> {
    name.strip_suffix(".replay")?
        .strip_suffix(group)?
        .strip_suffix('.')
}

/// Whether that is the name of a dead-letter topic.
pub fn is_dlq(name: &str) -> bool {
    name.ends_with(".dlq")
}

/// Text of at most `limit` bytes that PostgreSQL and Kafka both accept, cut between characters.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    let end = text.floor_char_boundary(limit.min(text.len()));
    let mut kept = text[..end].replace('\0', "\u{fffd}");
    if end < text.len() {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_topic_leads_back_to_its_topic() {
        let replay = replay_topic("p.order.events", "mail");
        assert_eq!(replayed_topic(&replay, "mail"), Some("p.order.events"));
        assert_eq!(replayed_topic(&replay, "ail"), None);
        assert_eq!(replayed_topic("p.order.events", "mail"), None);
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(cut("short", 10), "short");
        assert_eq!(cut("aéé", 2), "a…");
        assert_eq!(cut("a\0b", 10), "a\u{fffd}b");
    }
}
