//! What a consumer can be told. Every default is stated here.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::dead_letter;
use crate::flood::FloodPolicy;
use crate::parking::OnDeadLetter;
use crate::retry::RetryPolicy;
use crate::sequence::InSequence;

/// Settings of one consumer; start from [`ConsumerSettings::new`] and change fields.
#[derive(Debug, Clone)]
pub struct ConsumerSettings {
    /// Addresses of brokers, comma-separated `host:port`.
    pub bootstrap: String,
    /// Name of the consumer group, without prefix: it scopes the inbox and names the dead-letter topics.
    pub group: String,
    /// Topics without prefix; each topic's replay topic is read as well. An entry that begins with `^` is a
    /// regular expression over topic names instead, for which no replay topics are read.
    pub topics: Vec<String>,
    /// Comes before every topic, and before the group's name at the broker; empty outside tests and shared clusters.
    pub topic_prefix: String,
    /// Retries of transient failures.
    pub retry: RetryPolicy,
    /// What keeps an outage from becoming dead letters.
    pub flood: FloodPolicy,
    /// What becomes of a key's later records when one of its records is dead-lettered; they are handled.
    pub on_dead_letter: OnDeadLetter,
    /// Whether and how each key's sequence (header `oncebox-sequence`) is demanded; it is not. See [`crate::sequence`].
    pub in_sequence: Option<InSequence>,
    /// Parked records of one partition beyond which it waits instead of parking more; 100,000.
    pub parked_limit: usize,
    /// Most records in one transaction; 500.
    pub batch_max_records: usize,
    /// Most bytes (keys, values, headers) in one transaction; 4 MiB. A single larger record still passes.
    pub batch_max_bytes: usize,
    /// Memory for fetched records that wait for their turn, of all partitions together; 2 MiB. Each partition gets its share,
    /// between 64 KiB and 1 MiB, and one more record, however large.
    pub buffer_max_bytes: usize,
    /// How many records of order-free types (see [`BatchHandler::order_free`](crate::BatchHandler::order_free)) one
    /// partition handles at once; 8. Each needs a connection of the pool.
    pub order_free_at_once: usize,
    /// How long one call of a handler may take before it is cut and counted as transient; 30 s.
    pub handler_timeout: Duration,
    /// How long a batch in hand may go on after shutdown or a lost partition; 10 s.
    pub shutdown_deadline: Duration,
    /// How long an event's row stays in the inbox after it was handled, and so for how long its duplicates are recognised;
    /// 14 days, and not less than one. Of several consumers of a database the longest counts. See [`crate::retention`].
    pub inbox_retention: Duration,
    /// What makes two records the same event.
    pub identity: Identity,
    /// librdkafka properties beyond and over those of this kit.
    pub kafka: BTreeMap<String, String>,
}

/// What makes two records the same event for a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Identity {
    /// The event id in the headers; for a record without one, its place in the topic.
    #[default]
    EventId,
    /// The place in the topic: for consumers of dead-letter topics, where one event may lie several times.
    Offset,
}

impl ConsumerSettings {
    /// The defaults, for a group that reads these topics.
    pub fn new(
        bootstrap: impl Into<String>,
        group: impl Into<String>,
        topics: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            group: group.into(),
            topics: topics.into_iter().map(Into::into).collect(),
            topic_prefix: String::new(),
            retry: RetryPolicy::default(),
            flood: FloodPolicy::default(),
            on_dead_letter: OnDeadLetter::default(),
            in_sequence: None,
            parked_limit: 100_000,
            batch_max_records: 500,
            batch_max_bytes: 4 * 1024 * 1024,
            buffer_max_bytes: 2 * 1024 * 1024,
            order_free_at_once: 8,
            handler_timeout: Duration::from_secs(30),
            shutdown_deadline: Duration::from_secs(10),
            inbox_retention: Duration::from_secs(14 * 24 * 3600),
            identity: Identity::default(),
            kafka: BTreeMap::new(),
        }
    }

    /// The group's name at the broker: with the prefix, so that two installations on one cluster do not share it.
    pub fn group_id(&self) -> String {
        format!("{}{}", self.topic_prefix, self.group)
    }

    /// What is subscribed to: full names and, first in librdkafka's order, patterns.
    pub fn subscription(&self) -> Vec<String> {
        let mut names = Vec::with_capacity(self.topics.len() * 2);
        for topic in &self.topics {
            match topic.strip_prefix('^') {
                Some(pattern) => names.push(format!("^{}{pattern}", escape(&self.topic_prefix))),
                None => {
                    let topic = format!("{}{topic}", self.topic_prefix);
                    names.push(dead_letter::replay_topic(&topic, &self.group));
                    names.push(topic);
                }
            }
        }
        names
    }

    /// Whether any topic is a pattern.
    pub(super) fn has_pattern(&self) -> bool {
        self.topics.iter().any(|topic| topic.starts_with('^'))
    }
}

/// The prefix taken literally inside a pattern.
fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, character| {
        if !character.is_ascii_alphanumeric() {
            escaped.push('\\');
        }
        escaped.push(character);
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replay_topics_and_prefixes_are_added() {
        let mut settings = ConsumerSettings::new("broker:9092", "payment", ["payment.commands"]);
        settings.topic_prefix = "t1.".into();
        assert_eq!(
            settings.subscription(),
            ["t1.payment.commands.payment.replay", "t1.payment.commands"]
        );
        assert_eq!(settings.group_id(), "t1.payment");
        settings.topics = vec![r"^.*\.dlq$".into()];
        assert_eq!(settings.subscription(), [r"^t1\..*\.dlq$"]);
    }
}
