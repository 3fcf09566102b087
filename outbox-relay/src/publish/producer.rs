//! The transactional producer of one source.
//!
//! Its transactional id names the source, so a second relay on the same source fences the first: the broker
//! refuses whatever the first still sends (guarantees G2 and G4).

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig,
};

use super::outcome::PublishError;
use super::{quiet, record};
use crate::cursor::Cursor;
use crate::failpoint::{self, Point};
use crate::source::Row;

/// The broker aborts a transaction that is open for longer; a relay that is frozen for longer finds itself fenced.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);
/// Records are acknowledged, or the transaction given up, within this.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
/// One call to the transaction coordinator. Calls that time out are repeated, see [`Publisher::commit`].
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Index of the record that carries the cursor among the batch's records.
const CURSOR_RECORD: usize = usize::MAX >> 1;

/// Remembers the first record of a transaction that was not taken.
#[derive(Debug, Default)]
struct Deliveries {
    failed: Mutex<Option<(usize, RDKafkaErrorCode)>>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        quiet::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        quiet::tell(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        if let Err((error, _)) = result {
            let code = error
                .rdkafka_error_code()
                .unwrap_or(RDKafkaErrorCode::Unknown);
            self.failed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert((index, code));
        }
    }
}

/// How a source's producer is configured, so that a benchmark can produce as the relay does.
#[must_use]
pub fn producer_config(config: &ClientConfig, transactional_id: &str) -> ClientConfig {
    let mut config = config.clone();
    config
        .set("transactional.id", transactional_id)
        .set(
            "transaction.timeout.ms",
            TRANSACTION_TIMEOUT.as_millis().to_string(),
        )
        .set(
            "delivery.timeout.ms",
            DELIVERY_TIMEOUT.as_millis().to_string(),
        )
        .set("acks", "all")
        .set("partitioner", "murmur2_random")
        .set("compression.type", "lz4")
        // The relay hands over whole batches: there is nothing to wait for.
        .set("linger.ms", "0")
        .set("batch.num.messages", "10000")
        .set("batch.size", "1000000")
        .set("message.max.bytes", "10485760")
        // A topic that does not exist is told after this; the default of 30 s would hold every other row that long.
        .set("topic.metadata.propagation.max.ms", "5000")
        .set("queue.buffering.max.messages", "200000")
        .set("queue.buffering.max.kbytes", "65536");
    config
}

/// Publishes batches of one source. Every call blocks: call it off the async runtime.
pub struct Publisher {
    producer: BaseProducer<Deliveries>,
    cursor_topic: String,
    cursor_key: String,
}

impl Publisher {
    /// Takes the source over: whoever published it before is fenced, and its open transaction aborted.
    ///
    /// # Errors
    /// [`PublishError::Kafka`] when the broker is away or refuses.
    pub fn take_over(
        config: &ClientConfig,
        transactional_id: &str,
        cursor_topic: &str,
        cursor_key: &str,
    ) -> Result<Self, PublishError> {
        let producer: BaseProducer<Deliveries> = producer_config(config, transactional_id)
            .create_with_context(Deliveries::default())
            .map_err(PublishError::at("create producer"))?;
        failpoint::hit(Point::InitBefore);
        producer
            .init_transactions(CALL_TIMEOUT)
            .map_err(PublishError::at("init transactions"))?;
        failpoint::hit(Point::InitAfter);
        Ok(Self {
            producer,
            cursor_topic: cursor_topic.to_owned(),
            cursor_key: cursor_key.to_owned(),
        })
    }

    /// Publishes rows and the cursor after them: all of it or nothing, as seen by a read_committed reader.
    ///
    /// # Errors
    /// [`PublishError`]; [`PublishError::lead`] tells what to do. The transaction is not open any more then, or the
    /// producer is used up.
    pub fn publish(&self, rows: &[Row], next: &Cursor) -> Result<(), PublishError> {
        self.forget_failure();
        failpoint::hit(Point::BeginBefore);
        self.producer
            .begin_transaction()
            .map_err(PublishError::at("begin transaction"))?;
        failpoint::hit(Point::BeginAfter);
        let result = self.send_all(rows, next).and_then(|()| self.commit(rows));
        if let Err(error) = &result
            && matches!(error.lead(), super::Lead::Abort | super::Lead::Refused)
        {
            self.abort()?;
        }
        result
    }

    fn send_all(&self, rows: &[Row], next: &Cursor) -> Result<(), PublishError> {
        for (index, row) in rows.iter().enumerate() {
            failpoint::hit(Point::ProduceBefore);
            self.send(record::of(row, index)?)
                .map_err(|code| row_error(row, code))?;
            failpoint::hit(Point::ProduceAfter);
        }
        failpoint::hit(Point::CursorBefore);
        let cursor = serde_json::to_vec(next).map_err(|error| PublishError::Malformed {
            seq: 0,
            event_id: uuid::Uuid::nil(),
            topic: self.cursor_topic.clone(),
            problem: error.to_string(),
        })?;
        let record = BaseRecord::with_opaque_to(&self.cursor_topic, CURSOR_RECORD)
            .key(self.cursor_key.as_bytes())
            .payload(cursor.as_slice());
        self.send(record).map_err(|code| self.cursor_error(code))?;
        failpoint::hit(Point::CursorAfter);
        Ok(())
    }

    /// Enqueues a record, making room where the queue is full.
    fn send(&self, mut record: BaseRecord<'_, [u8], [u8], usize>) -> Result<(), RDKafkaErrorCode> {
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((error, back)) => match error.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::QueueFull) => {
                        self.producer.poll(Duration::ZERO);
                        std::thread::sleep(Duration::from_micros(200));
                        record = back;
                    }
                    code => return Err(code.unwrap_or(RDKafkaErrorCode::Unknown)),
                },
            }
        }
    }

    fn commit(&self, rows: &[Row]) -> Result<(), PublishError> {
        self.await_acknowledgements()?;
        if let Some((index, code)) = self.first_failure() {
            return Err(rows
                .get(index)
                .map_or_else(|| self.cursor_error(code), |row| row_error(row, code)));
        }
        failpoint::hit(Point::CommitBefore);
        loop {
            let asked = failpoint::during(Point::CommitDuring, || {
                self.producer.commit_transaction(CALL_TIMEOUT)
            });
            match asked {
                Ok(()) => {
                    failpoint::hit(Point::CommitAfter);
                    return Ok(());
                }
                // Whether it is committed is not known yet; librdkafka goes on with the same commit when asked again.
                Err(KafkaError::Transaction(error)) if error.is_retriable() => {
                    tracing::warn!(error = %error, "commit takes long, asked again");
                }
                Err(error) => {
                    return Err(PublishError::Kafka {
                        step: "commit transaction",
                        source: error,
                    });
                }
            }
        }
    }

    /// Waits until every record is acknowledged or failed.
    ///
    /// Not by `flush`, nor by leaving it to `commit_transaction`: both poll in slices of 100 ms that do not
    /// end early, which would be the latency of every transaction.
    fn await_acknowledgements(&self) -> Result<(), PublishError> {
        let started = Instant::now();
        while self.producer.in_flight_count() > 0 {
            self.producer.poll(Duration::ZERO);
            if self.producer.in_flight_count() > 0 {
                if started.elapsed() > DELIVERY_TIMEOUT + CALL_TIMEOUT {
                    return Err(PublishError::Timeout(started.elapsed()));
                }
                std::thread::sleep(Duration::from_micros(100));
            }
        }
        Ok(())
    }

    fn abort(&self) -> Result<(), PublishError> {
        // Aborting waits until every report of a purged record is served, and only polling serves them.
        self.producer
            .purge(PurgeConfig::default().queue().inflight());
        self.await_acknowledgements()?;
        loop {
            match self.producer.abort_transaction(CALL_TIMEOUT) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(error)) if error.is_retriable() => {}
                Err(error) => {
                    return Err(PublishError::Kafka {
                        step: "abort transaction",
                        source: error,
                    });
                }
            }
        }
    }

    fn cursor_error(&self, code: RDKafkaErrorCode) -> PublishError {
        PublishError::Kafka {
            step: "write cursor",
            source: KafkaError::MessageProduction(code),
        }
    }

    fn forget_failure(&self) {
        self.failure().take();
    }

    fn first_failure(&self) -> Option<(usize, RDKafkaErrorCode)> {
        *self.failure()
    }

    fn failure(&self) -> std::sync::MutexGuard<'_, Option<(usize, RDKafkaErrorCode)>> {
        self.producer
            .client()
            .context()
            .failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn row_error(row: &Row, code: RDKafkaErrorCode) -> PublishError {
    PublishError::Record {
        seq: row.seq,
        event_id: row.event_id,
        topic: row.topic.clone(),
        code,
    }
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher")
            .field("cursor_key", &self.cursor_key)
            .finish_non_exhaustive()
    }
}
