//! Records to consume: a backlog, or a steady stream.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use oncebox::headers::names;
use oncebox::{Codec, Event, EventId, Headers};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};

use super::event::Moved;
use crate::ground::Ground;

/// Between looks at the clock: the stream sends what is due then.
const TICK: Duration = Duration::from_millis(1);
const FLUSH: Duration = Duration::from_secs(60);

pub(crate) struct Load {
    producer: ThreadedProducer<Failures>,
    codec: Codec,
    topic: String,
}

/// Remembers that a record was refused.
struct Failures;

impl rdkafka::ClientContext for Failures {}

impl rdkafka::producer::ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &rdkafka::message::DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            // What is missing then is found by the check of the effects.
            eprintln!("a record was not produced: {error}");
        }
    }
}

impl Load {
    pub(crate) fn new(ground: &Ground, codec: &Codec, topic: &str) -> anyhow::Result<Self> {
        let mut config = oncebox::kafka::client_config(&ground.kafka);
        config
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            // As the relay's.
            .set("batch.size", "262144")
            .set("linger.ms", "1");
        Ok(Self {
            producer: config.create_with_context(Failures)?,
            codec: codec.clone(),
            topic: topic.to_owned(),
        })
    }

    /// Produces the events of the numbers from 0 on, as quickly as it goes.
    pub(crate) async fn backlog(&self, records: u64) -> anyhow::Result<()> {
        for number in 0..records {
            self.send(number).await?;
        }
        self.flush().await
    }

    /// Produces `rate` events a second, each at its time whatever became of the ones before; returns how many.
    pub(crate) async fn steady(&self, rate: u64, time: Duration) -> anyhow::Result<u64> {
        let (started, mut sent) = (Instant::now(), 0);
        let all = rate * time.as_secs();
        while sent < all {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a small positive count"
            )]
            let due = (started.elapsed().as_secs_f64() * rate as f64) as u64;
            while sent < due.min(all) {
                self.send(sent).await?;
                sent += 1;
            }
            tokio::time::sleep(TICK).await;
        }
        self.flush().await?;
        let late = started.elapsed().saturating_sub(time);
        ensure!(
            late < time / 10 + Duration::from_secs(1),
            "the stream fell {late:?} behind"
        );
        Ok(all)
    }

    async fn send(&self, number: u64) -> anyhow::Result<()> {
        let event = Moved::numbered(number);
        let (key, value) = (event.key(), self.codec.encode(&event).await?);
        let headers = headers(&key).to_kafka();
        let mut record = BaseRecord::to(&self.topic)
            .key(key.as_bytes())
            .payload(&value)
            .headers(headers);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), same)) => {
                    record = same;
                    tokio::time::sleep(TICK).await;
                }
                Err((error, _)) => return Err(error).context("cannot produce"),
            }
        }
    }

    async fn flush(&self) -> anyhow::Result<()> {
        let producer = self.producer.clone();
        Ok(tokio::task::spawn_blocking(move || producer.flush(FLUSH)).await??)
    }
}

/// As the kit's outbox writes them.
fn headers(key: &str) -> Headers {
    let id = EventId::new().to_string();
    let mut headers = Headers::new();
    headers.push(names::CE_SPECVERSION, "1.0");
    headers.push(names::CE_TYPE, Moved::TYPE);
    headers.push(names::CE_SOURCE, "/oncebox/bench");
    headers.push(names::CE_SUBJECT, key);
    headers.push(names::CE_TIME, "2026-01-01T00:00:00.000000Z");
    headers.push(names::CONTENT_TYPE, "application/avro");
    headers.push(
        names::TRACEPARENT,
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    );
    headers.push(names::CORRELATION_ID, id.as_str());
    headers.push(names::ID, id.as_str());
    headers.push(names::CE_ID, id);
    headers
}
