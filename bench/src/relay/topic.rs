//! What a read_committed reader of a topic sees: where it ends, when its first new record comes, and each event's id.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::{Message, Offset, TopicPartitionList};
use uuid::Uuid;

use crate::ground::PARTITIONS;

const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// After the last event was seen, others may still be on their way to other partitions, where nothing ties them together.
const STRAGGLERS: Duration = Duration::from_secs(10);

/// Where each partition ended at some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark(Vec<i64>);

impl Mark {
    /// The ends as they are now, for a read_committed reader. Blocks.
    pub(crate) fn now(kafka: &str, topic: &str) -> anyhow::Result<Self> {
        Self::of(&consumer(kafka, &[])?, topic)
    }

    fn of(consumer: &BaseConsumer, topic: &str) -> anyhow::Result<Self> {
        let ends = (0..PARTITIONS).map(|partition| {
            let (_, end) = consumer.fetch_watermarks(topic, partition, CALL_TIMEOUT)?;
            anyhow::Ok(end)
        });
        Ok(Self(ends.collect::<Result<_, _>>()?))
    }

    /// Offsets between an earlier mark and this one: records, and a marker for each transaction and partition.
    pub(crate) fn since(&self, earlier: &Self) -> u64 {
        let passed: i64 = self.0.iter().sum::<i64>() - earlier.0.iter().sum::<i64>();
        u64::try_from(passed).unwrap_or(0)
    }
}

/// Looks again and again where a topic ends, over one connection.
pub(crate) struct Ends {
    consumer: BaseConsumer,
    topic: String,
}

impl Ends {
    pub(crate) fn of(kafka: &str, topic: &str) -> anyhow::Result<Self> {
        Ok(Self {
            consumer: consumer(kafka, &[])?,
            topic: topic.to_owned(),
        })
    }

    /// Blocks.
    pub(crate) fn now(&self) -> anyhow::Result<Mark> {
        Mark::of(&self.consumer, &self.topic)
    }
}

/// A reader that begins at a mark.
pub(crate) struct Reader {
    consumer: BaseConsumer,
    topic: String,
}

/// The first record behind a mark.
#[derive(Debug)]
pub(crate) struct First {
    /// When it was there.
    pub(crate) at: Instant,
    /// How far the topic had grown, looked at right afterwards: others come with it in one transaction.
    pub(crate) grown_to: Mark,
    pub(crate) looked_at: Instant,
}

/// What is in a topic behind a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) records: u64,
    pub(crate) events: u64,
}

impl Reader {
    /// A reader that wants records at once: it asks again after at most 5 ms.
    pub(crate) fn at(kafka: &str, topic: &str, mark: &Mark) -> anyhow::Result<Self> {
        let quick = [
            ("fetch.wait.max.ms", "5"),
            // Nothing is held back on the way: neither by a pause after an error or an empty answer, nor by a full queue.
            ("fetch.error.backoff.ms", "5"),
            ("fetch.queue.backoff.ms", "5"),
            ("socket.nagle.disable", "true"),
            // It need not have more of a topic in memory than it is about to look at.
            ("queued.max.messages.kbytes", "4096"),
            ("fetch.message.max.bytes", "262144"),
        ];
        Self::with(kafka, topic, mark, &quick)
    }

    fn with(
        kafka: &str,
        topic: &str,
        mark: &Mark,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let consumer = consumer(kafka, settings)?;
        let mut assignment = TopicPartitionList::new();
        for (partition, end) in (0..).zip(&mark.0) {
            assignment.add_partition_offset(topic, partition, Offset::Offset(*end))?;
        }
        consumer.assign(&assignment)?;
        Ok(Self {
            consumer,
            topic: topic.to_owned(),
        })
    }

    /// Waits for the first record. Blocks.
    pub(crate) fn first(&self, patience: Duration) -> anyhow::Result<First> {
        let started = Instant::now();
        while started.elapsed() < patience {
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(_)) => {
                    let at = Instant::now();
                    let grown_to = Mark::of(&self.consumer, &self.topic)?;
                    return Ok(First {
                        at,
                        grown_to,
                        looked_at: Instant::now(),
                    });
                }
                Some(Err(KafkaError::PartitionEOF(_))) | None => {}
                Some(Err(error)) => bail!("reading {}: {error}", self.topic),
            }
        }
        bail!(
            "nothing came to {} within {} s",
            self.topic,
            patience.as_secs()
        )
    }

    /// Gives each event's id as it comes to `take`, which says whether it wants more. Blocks.
    pub(crate) fn each(
        &self,
        mut take: impl FnMut(Option<(Uuid, Instant)>) -> bool,
    ) -> anyhow::Result<()> {
        loop {
            let seen = match self.consumer.poll(Duration::from_millis(50)) {
                Some(Ok(message)) => Some((event_id(&message)?, Instant::now())),
                Some(Err(KafkaError::PartitionEOF(_))) | None => None,
                Some(Err(error)) => bail!("reading {}: {error}", self.topic),
            };
            if !take(seen) {
                return Ok(());
            }
        }
    }
}

/// Counts records and different events behind a mark; waits a while for those that are expected. Blocks.
pub(crate) fn census(
    kafka: &str,
    topic: &str,
    mark: &Mark,
    expected: u64,
) -> anyhow::Result<Census> {
    let reader = Reader::with(kafka, topic, mark, &[("fetch.wait.max.ms", "50")])?;
    let (mut times, mut records): (HashMap<Uuid, u32>, u64) = (HashMap::new(), 0);
    let (mut ended, mut last) = (std::collections::HashSet::new(), Instant::now());
    loop {
        match reader.consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                *times.entry(event_id(&message)?).or_default() += 1;
                records += 1;
                ended.remove(&message.partition());
                last = Instant::now();
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            Some(Err(error)) => bail!("reading {topic}: {error}"),
            None => {}
        }
        let complete = times.len() as u64 >= expected || last.elapsed() > STRAGGLERS;
        if complete && ended.len() == PARTITIONS as usize {
            return Ok(Census {
                records,
                events: times.len() as u64,
            });
        }
    }
}

/// The header `id`, which the kit and Debezium's router both write.
fn event_id(message: &BorrowedMessage<'_>) -> anyhow::Result<Uuid> {
    let headers = message.headers().context("a record without headers")?;
    let id = headers
        .iter()
        .find(|header| header.key == "id")
        .and_then(|header| header.value)
        .context("a record without the header id")?;
    Ok(Uuid::try_parse_ascii(id)?)
}

fn consumer(kafka: &str, settings: &[(&str, &str)]) -> anyhow::Result<BaseConsumer> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", kafka)
        .set("group.id", "oncebox-bench")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    Ok(config.create()?)
}

/// Runs what blocks off the async runtime.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_counts_what_came_since() {
        let (before, after) = (Mark(vec![1, 5, 0]), Mark(vec![4, 5, 2]));
        assert_eq!(after.since(&before), 5);
        assert_eq!(before.since(&after), 0, "never negative");
    }
}
