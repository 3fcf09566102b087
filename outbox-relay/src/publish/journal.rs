//! The cursor topic, read back: what decides where a relay goes on.

use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::cursor::Cursor;

/// The whole topic is read within this; it is compacted and holds a few records a source.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Reads cursors from the cursor topic.
#[derive(Debug)]
pub struct Journal<'a> {
    config: &'a ClientConfig,
    topic: &'a str,
}

/// Why the cursor could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The broker is away or refuses.
    #[error("the cursor topic {topic} cannot be read: {source}")]
    Kafka {
        /// The topic.
        topic: String,
        /// What librdkafka said.
        source: KafkaError,
    },
    /// The topic's end was not reached in time.
    #[error("the end of the cursor topic {topic} was not reached within {TIMEOUT:?}")]
    Timeout {
        /// The topic.
        topic: String,
    },
    /// The topic is not there.
    #[error(
        "the cursor topic {topic} does not exist; create it compacted, with one partition (cargo dev provision does)"
    )]
    NoTopic {
        /// The topic.
        topic: String,
    },
    /// A record that is no cursor: never guessed around, since a wrong guess loses or repeats events.
    #[error("the cursor of {key} at offset {offset} of {topic} is not readable: {problem}")]
    Unreadable {
        /// The topic.
        topic: String,
        /// The source.
        key: String,
        /// The record's offset.
        offset: i64,
        /// What is wrong.
        problem: String,
    },
}

impl<'a> Journal<'a> {
    /// The journal in that topic.
    pub fn new(config: &'a ClientConfig, topic: &'a str) -> Self {
        Self { config, topic }
    }

    /// The last committed cursor of a source; none when it never published. Blocks.
    ///
    /// Call it after the predecessor was fenced: its open transaction has ended then, and read_committed
    /// reads to the real end.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn last(&self, key: &str) -> Result<Option<Cursor>, JournalError> {
        let failed = |source| JournalError::Kafka {
            topic: self.topic.to_owned(),
            source,
        };
        let consumer: BaseConsumer = self
            .config
            .clone()
            .set("group.id", "oncebox-relay-journal")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .create()
            .map_err(failed)?;
        let metadata = consumer
            .fetch_metadata(Some(self.topic), TIMEOUT)
            .map_err(failed)?;
        if metadata
            .topics()
            .iter()
            .all(|topic| topic.partitions().is_empty())
        {
            return Err(JournalError::NoTopic {
                topic: self.topic.to_owned(),
            });
        }
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(self.topic, 0, Offset::Beginning)
            .map_err(failed)?;
        consumer.assign(&assignment).map_err(failed)?;
        let (mut last, started) = (None, Instant::now());
        loop {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) if message.key() == Some(key.as_bytes()) => {
                    last = Some(self.parse(
                        key,
                        message.offset(),
                        message.payload().unwrap_or_default(),
                    )?);
                }
                Some(Ok(_)) => {}
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(last),
                Some(Err(error)) => tracing::debug!(%error, "reading the cursor topic"),
                None => {}
            }
            if started.elapsed() > TIMEOUT {
                return Err(JournalError::Timeout {
                    topic: self.topic.to_owned(),
                });
            }
        }
    }

    fn parse(&self, key: &str, offset: i64, value: &[u8]) -> Result<Cursor, JournalError> {
        let unreadable = |problem: String| JournalError::Unreadable {
            topic: self.topic.to_owned(),
            key: key.to_owned(),
            offset,
            problem,
        };
        let cursor: Cursor =
            serde_json::from_slice(value).map_err(|error| unreadable(error.to_string()))?;
        if cursor.version != Cursor::VERSION {
            return Err(unreadable(format!(
                "version {} is newer than this relay's {}",
                cursor.version,
                Cursor::VERSION
            )));
        }
        Ok(cursor)
    }
}
