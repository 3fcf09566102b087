//! Records in: from every dead-letter topic into the index.
//!
//! At least once is enough here, because a record's place is its identity in the index: offsets are committed after
//! the database has the batch, and what is read again changes nothing. A dead letter is never dead-lettered itself:
//! while the database is away, indexing waits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::FutureExt as _;
use oncebox::Record;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::{Offset, TopicPartitionList};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::domain::letter::Letter;
use crate::happenings::{IndexingPaused, LetterNotIndexed, LettersIndexed};
use crate::kafka_log::Reports;
use crate::settings::Settings;
use crate::{inspect, store};

/// A batch is closed at this size, whatever number of records it has.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Keeps the index up to date until `shutdown`.
#[derive(Debug)]
pub struct Indexer {
    config: ClientConfig,
    pattern: String,
    batch_records: usize,
    pool: PgPool,
}

impl Indexer {
    /// An indexer of all topics `<topic_prefix>….dlq`.
    pub fn new(settings: &Settings, pool: PgPool) -> Self {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &settings.kafka)
            .set(
                "group.id",
                format!("{}{}", settings.topic_prefix, settings.group),
            )
            .set("client.id", "dlq-replayer")
            .set("isolation.level", "read_committed")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("allow.auto.create.topics", "false")
            .set("reconnect.backoff.max.ms", "2000")
            .set("queued.max.messages.kbytes", "16384")
            // A dead-letter topic is made when its consumer is deployed: it must be noticed while people look for it.
            .set(
                "topic.metadata.refresh.interval.ms",
                settings.topic_refresh_ms.to_string(),
            );
        for (name, value) in &settings.kafka_properties {
            config.set(name, value);
        }
        Self {
            config,
            pattern: pattern(&settings.topic_prefix),
            batch_records: settings.index_batch_records.max(1),
            pool,
        }
    }

    /// Indexes until `shutdown`. What goes wrong pauses it, and it goes on from the committed offsets.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        loop {
            let started = Instant::now();
            let ended = tokio::select! {
                () = shutdown.cancelled() => return,
                ended = self.session() => ended,
            };
            let Err(error) = ended;
            if started.elapsed() > LONGEST_PAUSE * 2 {
                pause = FIRST_PAUSE;
            }
            telemetry::emit(IndexingPaused {
                error: &error,
                pause,
            });
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One membership in the group. It ends with the first error: the next one begins at the committed offsets,
    /// so whatever was in hand is read again.
    async fn session(&self) -> anyhow::Result<std::convert::Infallible> {
        let consumer = Membership(Some(
            self.config
                .create_with_context(Reports)
                .context("create consumer")?,
        ));
        let consumer = consumer.get()?;
        consumer
            .subscribe(&[&self.pattern])
            .context("subscribe to the dead-letter topics")?;
        loop {
            let batch = self.batch(consumer).await;
            if batch.is_empty() {
                continue;
            }
            let ends = ends(&batch)?;
            self.index(batch).await?;
            if let Err(error) = consumer.commit(&ends, CommitMode::Async) {
                tracing::debug!(%error, "offsets not committed; the records are read again and change nothing");
            }
        }
    }

    /// Waits for a record, then takes what else is there already.
    async fn batch(&self, consumer: &StreamConsumer<Reports>) -> Vec<Record> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut next = Some(consumer.recv().await);
        while let Some(received) = next {
            match received {
                Ok(message) => {
                    let record = inspect::owned(&message);
                    bytes += record.size_bytes();
                    batch.push(record);
                }
                // librdkafka reconnects by itself; these tell of single brokers and topics.
                Err(error) => {
                    tracing::debug!(%error, "no dead letter received");
                    break;
                }
            }
            next = if batch.len() < self.batch_records && bytes < BATCH_BYTES {
                consumer.recv().now_or_never()
            } else {
                None
            };
        }
        batch
    }

    async fn index(&self, batch: Vec<Record>) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut records: BTreeMap<String, u64> = BTreeMap::new();
        for record in &batch {
            *records.entry(record.topic.clone()).or_default() += 1;
        }
        let letters: Vec<Letter> = batch.into_iter().map(Letter::read).collect();
        let new = match store::index(&self.pool, &letters).await {
            Ok(new) => new,
            Err(error) if is_about_data(&error) => self.index_one_by_one(&letters).await?,
            Err(error) => return Err(error).context("index dead letters"),
        };
        telemetry::emit(LettersIndexed {
            records,
            new,
            duration: started.elapsed(),
        });
        Ok(())
    }

    /// Finds the record that the database refuses, so that it does not keep the others out.
    async fn index_one_by_one(&self, letters: &[Letter]) -> anyhow::Result<u64> {
        let mut new = 0;
        for letter in letters {
            match store::index(&self.pool, std::slice::from_ref(letter)).await {
                Ok(added) => new += added,
                Err(error) if is_about_data(&error) => telemetry::emit(LetterNotIndexed {
                    topic: &letter.record.topic,
                    partition: letter.record.partition,
                    offset: letter.record.offset,
                    error: &error,
                }),
                Err(error) => return Err(error).context("index dead letters"),
            }
        }
        Ok(new)
    }
}

/// Leaving a group blocks for a moment, so it does not happen on a thread that serves requests.
struct Membership(Option<StreamConsumer<Reports>>);

impl Membership {
    fn get(&self) -> anyhow::Result<&StreamConsumer<Reports>> {
        self.0.as_ref().context("the consumer is closed")
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let consumer = self.0.take();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(consumer))),
            Err(_) => drop(consumer),
        }
    }
}

/// librdkafka takes a subscription that begins with `^` as a regular expression.
fn pattern(prefix: &str) -> String {
    let mut pattern = String::from("^");
    for character in prefix.chars() {
        if !character.is_ascii_alphanumeric() && character != '_' && character != '-' {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push_str(r".*\.dlq$");
    pattern
}

/// One after the last record of each partition: what is to be committed.
fn ends(batch: &[Record]) -> anyhow::Result<TopicPartitionList> {
    let mut last: BTreeMap<(&str, i32), i64> = BTreeMap::new();
    for record in batch {
        last.insert((&record.topic, record.partition), record.offset + 1);
    }
    let mut list = TopicPartitionList::with_capacity(last.len());
    for ((topic, partition), offset) in last {
        list.add_partition_offset(topic, partition, Offset::Offset(offset))
            .context("list offsets")?;
    }
    Ok(list)
}

/// Data exceptions and exceeded limits (SQLSTATE classes 22, 23, 54): trying the same record again cannot help.
fn is_about_data(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["22", "23", "54"]
                .iter()
                .any(|class| code.starts_with(class))
        }),
        sqlx::Error::Encode(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_taken_literally() {
        assert_eq!(pattern(""), r"^.*\.dlq$");
        assert_eq!(pattern("t1.x_y-z"), r"^t1\.x_y-z.*\.dlq$");
    }
}
