//! Records into and out of the test stack's broker, without the code under test.

use std::time::{Duration, Instant};

use oncebox::{Headers, Record};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Message, Offset, TopicPartitionList};

const TIMEOUT: Duration = Duration::from_secs(20);

/// Creates topics with that many partitions; one that exists already is fine.
///
/// # Panics
/// When the broker refuses.
pub async fn create_topics(names: &[&str], partitions: i32) {
    create_topics_at(&super::kafka_address(), names, partitions).await;
}

/// Likewise at another broker.
///
/// # Panics
/// When the broker refuses.
pub async fn create_topics_at(kafka: &str, names: &[&str], partitions: i32) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .create()
        .unwrap();
    let topics: Vec<_> = names
        .iter()
        .map(|name| NewTopic::new(name, partitions, TopicReplication::Fixed(1)))
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
    for result in admin.create_topics(&topics, &options).await.unwrap() {
        match result {
            Ok(_) | Err((_, rdkafka::types::RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => panic!("create {topic}: {code}"),
        }
    }
}

/// Sends records in order and waits until the broker has them all.
#[derive(Clone)]
pub struct Sender {
    producer: FutureProducer,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender")
    }
}

impl Sender {
    /// A producer of the test's own.
    ///
    /// # Panics
    /// When librdkafka refuses its configuration.
    #[expect(clippy::new_without_default, reason = "it opens connections")]
    pub fn new() -> Self {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", super::kafka_address())
            .set("partitioner", "murmur2_random")
            .set("enable.idempotence", "true")
            .set("linger.ms", "1")
            .create()
            .unwrap();
        Self { producer }
    }

    /// Sends one record; `partition` none leaves the choice to the key. Returns partition and offset.
    ///
    /// # Panics
    /// When the broker refuses it.
    pub async fn send(
        &self,
        topic: &str,
        partition: Option<i32>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &Headers,
    ) -> (i32, i64) {
        let now = chrono::Utc::now().timestamp_millis();
        self.send_at(topic, partition, key, value, headers, now)
            .await
    }

    /// Like [`Sender::send`], published at that time, in milliseconds since 1970.
    ///
    /// # Panics
    /// When the broker refuses it.
    pub async fn send_at(
        &self,
        topic: &str,
        partition: Option<i32>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &Headers,
        at_ms: i64,
    ) -> (i32, i64) {
        let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic)
            .headers(headers.to_kafka())
            .timestamp(at_ms);
        if let Some(partition) = partition {
            record = record.partition(partition);
        }
        if let Some(key) = key {
            record = record.key(key);
        }
        if let Some(value) = value {
            record = record.payload(value);
        }
        let delivery = self.producer.send(record, TIMEOUT).await;
        delivery
            .map(|sent| (sent.partition, sent.offset))
            .unwrap_or_else(|(error, _)| panic!("send to {topic}: {error}"))
    }
}

/// All committed records of a topic up to its end now, each partition in order, as a read_committed reader sees them.
///
/// # Panics
/// When the topic does not exist, or its end is not reached within 30 seconds.
pub async fn read_committed(topic: &str) -> Vec<Record> {
    read_committed_at(&super::kafka_address(), topic).await
}

/// Likewise at another broker.
///
/// # Panics
/// When the topic does not exist, or its end is not reached within 30 seconds.
pub async fn read_committed_at(kafka: &str, topic: &str) -> Vec<Record> {
    let (kafka, topic) = (kafka.to_owned(), topic.to_owned());
    tokio::task::spawn_blocking(move || read_blocking(&kafka, &topic))
        .await
        .unwrap()
}

fn read_blocking(kafka: &str, topic: &str) -> Vec<Record> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("group.id", "testkit-reader")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).unwrap();
    let partitions: Vec<i32> = metadata.topics()[0]
        .partitions()
        .iter()
        .map(|partition| partition.id())
        .collect();
    assert!(!partitions.is_empty(), "topic {topic} does not exist");
    let mut assignment = TopicPartitionList::new();
    for partition in &partitions {
        assignment
            .add_partition_offset(topic, *partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let (mut records, mut ended, started) =
        (Vec::new(), std::collections::HashSet::new(), Instant::now());
    while ended.len() < partitions.len() {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "the end of {topic} was not reached"
        );
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => records.push(Record {
                topic: message.topic().to_owned(),
                partition: message.partition(),
                offset: message.offset(),
                timestamp: message
                    .timestamp()
                    .to_millis()
                    .and_then(chrono::DateTime::from_timestamp_millis),
                key: message.key().map(|key| key.to_vec().into()),
                value: message.payload().map(|value| value.to_vec().into()),
                headers: Headers::from_kafka(&message),
            }),
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            Some(Err(error)) => panic!("read {topic}: {error}"),
            None => {}
        }
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    records
}

/// The sum of all partitions' end offsets: cheap to ask for, and grows with each record and transaction marker.
///
/// # Panics
/// When the topic does not exist.
pub async fn end_offsets(topic: &str) -> i64 {
    let topic = topic.to_owned();
    let sum = move || {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", super::kafka_address())
            .create()
            .unwrap();
        let metadata = consumer.fetch_metadata(Some(&topic), TIMEOUT).unwrap();
        let partitions = metadata.topics()[0].partitions();
        partitions
            .iter()
            .map(|partition| {
                consumer
                    .fetch_watermarks(&topic, partition.id(), TIMEOUT)
                    .unwrap()
                    .1
            })
            .sum()
    };
    tokio::task::spawn_blocking(sum).await.unwrap()
}
