//! The cursor topic, read back: what decides where a relay goes on.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::quiet::Quiet;
use crate::cursor::Cursor;

/// The whole topic is read within this; it is compacted and holds a few records a source.
const TIMEOUT: Duration = Duration::from_secs(30);
/// One question to the broker.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Transactions of other sources take milliseconds; one that takes longer belongs to a relay that died or hangs.
const OTHERS_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads cursors from the cursor topic.
#[derive(Debug)]
pub struct Journal<'a> {
    config: &'a ClientConfig,
    topic: &'a str,
    quiet: Quiet,
}

/// Why the cursor could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The broker is away or refuses.
    #[error("the cursor topic {topic} cannot be read: {source}{}", heard.as_ref().map(|heard| format!(" ({heard})")).unwrap_or_default())]
    Kafka {
        /// The topic.
        topic: String,
        /// What librdkafka answered.
        source: Box<KafkaError>,
        /// What it said beside that.
        heard: Option<String>,
    },
    /// The topic's end was not reached in time.
    #[error("the end of the cursor topic {topic} was not reached within {TIMEOUT:?}")]
    Timeout {
        /// The topic.
        topic: String,
    },
    /// Another relay is in the middle of a transaction, behind which this source's cursor may lie.
    #[error(
        "another transaction is open on the cursor topic {topic}, and what lies behind it cannot be read yet; a dead relay's ends by itself within a minute"
    )]
    Hidden {
        /// The topic.
        topic: String,
    },
    /// The topic is not there, and could not be made.
    #[error(
        "the cursor topic {topic} does not exist and cannot be created ({problem}); create it with one partition and cleanup.policy=compact"
    )]
    NoTopic {
        /// The topic.
        topic: String,
        /// Why it could not be made.
        problem: String,
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
        Self {
            config,
            topic,
            quiet: Quiet::default(),
        }
    }

    /// The last committed cursor of a source; none when it never published. Blocks, for a few seconds at most.
    ///
    /// Call it after the predecessor was fenced: its open transaction has ended then.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn last(&self, key: &str) -> Result<Option<Cursor>, JournalError> {
        let consumer = self.reader("read_committed")?;
        let end = self.wait_for_other_transactions(&consumer)?;
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(self.topic, 0, Offset::Beginning)
            .map_err(|error| self.failed(error))?;
        consumer
            .assign(&assignment)
            .map_err(|error| self.failed(error))?;
        let (mut last, started) = (None, Instant::now());
        while started.elapsed() < TIMEOUT {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    if message.key() == Some(key.as_bytes()) {
                        // A tombstone, by an operator's hand: the source begins again.
                        last = match message.payload() {
                            Some(value) => Some(self.parse(key, message.offset(), value)?),
                            None => None,
                        };
                    }
                    // Other relays go on writing, so the topic may never be read to an end: the end that it had when
                    // this began is enough, since the predecessor was fenced before.
                    if message.offset() >= end {
                        return Ok(last);
                    }
                }
                None => {}
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(last),
                Some(Err(error)) => tracing::debug!(%error, "reading the cursor topic"),
            }
        }
        Err(JournalError::Timeout {
            topic: self.topic.to_owned(),
        })
    }

    /// Waits until a read_committed reader sees up to the end that the topic has now, and returns that end.
    ///
    /// All sources share the topic, and the end of what is committed ("last stable offset") stands before the first
    /// open transaction of any of them. Behind it may lie this source's own last cursors: to stop reading there would
    /// publish twice whatever came after the one that was read.
    fn wait_for_other_transactions(
        &self,
        committed: &BaseConsumer<Quiet>,
    ) -> Result<i64, JournalError> {
        let end = self.end(&self.reader("read_uncommitted")?)?;
        let started = Instant::now();
        while self.end(committed)? < end {
            if started.elapsed() > OTHERS_TIMEOUT {
                return Err(JournalError::Hidden {
                    topic: self.topic.to_owned(),
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(end)
    }

    /// The topic's end as that reader sees it.
    fn end(&self, reader: &BaseConsumer<Quiet>) -> Result<i64, JournalError> {
        let (_, end) = reader
            .fetch_watermarks(self.topic, 0, CALL_TIMEOUT)
            .map_err(|error| self.unanswered(reader, error))?;
        Ok(end)
    }

    /// Makes the topic where it is missing: a relay beside a service of somebody's own needs no provisioning step.
    /// Blocks; to be called on a blocking thread of the async runtime.
    ///
    /// # Errors
    /// [`JournalError::NoTopic`] when it is missing and the broker does not let this client make it.
    pub fn ensure_topic(&self) -> Result<(), JournalError> {
        let reader = self.reader("read_uncommitted")?;
        let metadata = reader
            .fetch_metadata(Some(self.topic), CALL_TIMEOUT)
            .map_err(|error| self.unanswered(&reader, error))?;
        let exists = |topic: &MetadataTopic| !topic.partitions().is_empty();
        if metadata.topics().iter().any(exists) {
            return Ok(());
        }
        let missing = |problem: String| JournalError::NoTopic {
            topic: self.topic.to_owned(),
            problem,
        };
        let admin: AdminClient<Quiet> = self
            .config
            .create_with_context(self.quiet.clone())
            .map_err(|error| self.failed(error))?;
        // One partition: one order of all cursors. Replicated as the broker replicates by default. Small segments,
        // since only closed ones are compacted and a start reads the whole topic.
        let topic = NewTopic::new(self.topic, 1, TopicReplication::Fixed(-1))
            .set("cleanup.policy", "compact")
            .set("segment.bytes", "16777216")
            .set("min.cleanable.dirty.ratio", "0.1");
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
        let created = tokio::runtime::Handle::current()
            .block_on(admin.create_topics([&topic], &options))
            .map_err(|error| self.failed(error))?;
        for result in created {
            match result {
                // Another source of this relay made it meanwhile.
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => return Err(missing(code.to_string())),
            }
        }
        Ok(())
    }

    fn reader(&self, isolation: &str) -> Result<BaseConsumer<Quiet>, JournalError> {
        self.config
            .clone()
            .set("group.id", "oncebox-relay-journal")
            .set("isolation.level", isolation)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            // The end is told after an empty fetch, for which the broker would wait half a second by default.
            .set("fetch.wait.max.ms", "10")
            .create_with_context(self.quiet.clone())
            .map_err(|error| self.failed(error))
    }

    /// What librdkafka has to say about a call that failed, it says to whoever polls.
    fn unanswered(&self, reader: &BaseConsumer<Quiet>, source: KafkaError) -> JournalError {
        for _ in 0..20 {
            if reader.poll(Duration::from_millis(1)).is_none() && self.quiet.heard().is_some() {
                break;
            }
        }
        self.failed(source)
    }

    fn failed(&self, source: KafkaError) -> JournalError {
        JournalError::Kafka {
            topic: self.topic.to_owned(),
            source: Box::new(source),
            heard: self.quiet.heard(),
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
