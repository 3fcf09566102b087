//! The transactional producers of one source; why there are several, see [`super::turns`].
//!
//! Their transactional ids name the source, so a second relay on the same source fences the first: the broker
//! refuses whatever the first still sends (guarantees G2 and G4).

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::deliveries::Deliveries;
use super::outcome::{Lead, PublishError};
use super::record;
use super::refusal::{self, Portions, Refused, Verdict};
use super::topics::{Keyless, Topics};
use super::turns::Turns;
use crate::cursor::Cursor;
use crate::failpoint::{self, Point};
use crate::source::Row;

/// The broker aborts a transaction that is open for longer; a relay that is frozen for longer finds itself fenced.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);
/// Records are acknowledged, or the transaction given up, within this.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
/// One call to the transaction coordinator. Calls that time out are repeated, see [`Publisher::commit`].
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Index of the record that carries the cursor among the batch's records.
const CURSOR_RECORD: usize = usize::MAX >> 1;

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
        // Small transactions are small packets, each waited for.
        .set("socket.nagle.disable", "true")
        .set("batch.num.messages", "10000")
        // Whoever reads a record has the whole batch in memory, and one of each partition.
        .set("batch.size", "262144")
        .set("message.max.bytes", "10485760")
        // Topics are looked up by name before anything is sent, and a broker that makes missing ones should do so then.
        .set("allow.auto.create.topics", "true")
        // A topic that goes later is told after this; the default of 30 s would hold every other row that long.
        .set("topic.metadata.propagation.max.ms", "5000")
        .set("queue.buffering.max.messages", "200000")
        .set("queue.buffering.max.kbytes", "65536");
    config
}

/// Publishes batches of one source. Every call blocks: call it off the async runtime.
pub struct Publisher {
    turns: Turns,
    cursor_topic: String,
    cursor_key: String,
    /// What was learned about topics. Locked for a whole transaction: there is one at a time.
    learned: Mutex<Learned>,
}

#[derive(Debug, Default)]
struct Learned {
    topics: Topics,
    portions: Portions,
    keyless: Keyless,
    /// Whether the last transaction failed by a record that was refused.
    stumbled: bool,
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
        Ok(Self {
            turns: Turns::take_over(config, transactional_id)?,
            cursor_topic: cursor_topic.to_owned(),
            cursor_key: cursor_key.to_owned(),
            learned: Mutex::default(),
        })
    }

    /// Publishes rows and the cursor after them: all of it or nothing, as seen by a read_committed reader.
    ///
    /// # Errors
    /// [`PublishError`]; [`PublishError::lead`] tells what to do. The transaction is not open any more then, or the
    /// producer is used up.
    pub fn publish(&self, rows: &[Row], next: &Cursor) -> Result<(), PublishError> {
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        let absent = learned
            .topics
            .refuse(self.producer(), rows)
            .map_err(PublishError::at("look topics up"))?;
        let refused = [absent, learned.keyless.refuse(rows)].concat();
        if !refused.is_empty() {
            return Err(PublishError::Refused(refused));
        }
        loop {
            match self.attempt(rows, next, &mut learned) {
                Err(PublishError::TooLargeTogether) => {}
                Err(PublishError::Doubt(suspects)) => {
                    let refused = self.find_refused(rows, &suspects)?;
                    learned.keyless.learn(rows, &refused);
                    return Err(PublishError::Refused(vec![refused]));
                }
                Err(PublishError::Refused(refused)) => {
                    learned.topics.forget(&refused);
                    return Err(PublishError::Refused(refused));
                }
                // The numbers of records that were refused are missing now, which librdkafka notices in the next
                // transaction and mends by aborting that one too.
                Err(error) if learned.stumbled && error.lead() == Lead::Abort => {
                    learned.stumbled = false;
                }
                outcome => return outcome,
            }
        }
    }

    fn attempt(
        &self,
        rows: &[Row],
        next: &Cursor,
        learned: &mut Learned,
    ) -> Result<(), PublishError> {
        self.producer().client().context().forget();
        failpoint::hit(Point::BeginBefore);
        self.producer()
            .begin_transaction()
            .map_err(PublishError::at("begin transaction"))?;
        failpoint::hit(Point::BeginAfter);
        let published = self
            .send_all(rows, next, &mut learned.portions)
            .and_then(|()| self.await_acknowledgements())
            .and_then(|()| self.first_failure(rows))
            .and_then(|()| self.commit());
        let Err(error) = published else {
            self.turns.pass();
            learned.stumbled = false;
            return Ok(());
        };
        // A refused row makes every later step of its transaction fail, so it is looked for whatever the error is.
        let for_good = self
            .failed()
            .iter()
            .any(|(_, code)| refusal::is_for_good(*code));
        if for_good || matches!(error.lead(), Lead::Abort | Lead::Refused) {
            self.abort()?;
        }
        learned.stumbled |= for_good;
        Err(
            match refusal::judge(rows, &self.failed(), &mut learned.portions) {
                Verdict::Refused(refused) => PublishError::Refused(refused),
                Verdict::Again => PublishError::TooLargeTogether,
                Verdict::Doubt(suspects) => PublishError::Doubt(suspects),
                Verdict::Innocent => self.denied(rows).unwrap_or(error),
            },
        )
    }

    /// The rows whose topic this client may not write.
    fn denied(&self, rows: &[Row]) -> Option<PublishError> {
        let denied = self.producer().client().context().denied();
        let refused: Vec<_> = rows
            .iter()
            .filter(|row| denied.contains(&*row.topic))
            .map(|row| Refused::new(row, RDKafkaErrorCode::TopicAuthorizationFailed))
            .collect();
        if !refused.is_empty() {
            return Some(PublishError::Refused(refused));
        }
        denied
            .contains(&self.cursor_topic)
            .then(|| self.cursor_error(RDKafkaErrorCode::TopicAuthorizationFailed))
    }

    /// The first row that the broker finds fault with, by halving, in transactions that are aborted.
    fn find_refused(&self, rows: &[Row], suspects: &[usize]) -> Result<Refused, PublishError> {
        let suspects: Vec<&Row> = suspects
            .iter()
            .filter_map(|index| rows.get(*index))
            .collect();
        // So many are good, and among so many is one that is not.
        let (mut good, mut bad) = (0, suspects.len());
        let mut problem = RDKafkaErrorCode::InvalidRecord;
        while bad - good > 1 {
            let half = good + (bad - good) / 2;
            match self.probe(suspects.get(..half).unwrap_or_default())? {
                Some(code) => (bad, problem) = (half, code),
                None => good = half,
            }
        }
        suspects
            .get(good)
            .map(|row| Refused::new(row, problem))
            .ok_or(PublishError::Doubt(Vec::new()))
    }

    /// What the broker says to these rows. They are not published.
    fn probe(&self, rows: &[&Row]) -> Result<Option<RDKafkaErrorCode>, PublishError> {
        let mut failed = None;
        // After a refusal librdkafka aborts one transaction more, which says nothing about its rows.
        for _ in 0..3 {
            failed = self.try_to_probe(rows)?;
            if failed.is_none_or(refusal::is_for_good) {
                return Ok(failed);
            }
        }
        match (rows.first(), failed) {
            (Some(row), Some(code)) => Err(row_error(row, code)),
            _ => Ok(None),
        }
    }

    fn try_to_probe(&self, rows: &[&Row]) -> Result<Option<RDKafkaErrorCode>, PublishError> {
        self.failed().clear();
        self.producer()
            .begin_transaction()
            .map_err(PublishError::at("begin transaction"))?;
        for (index, row) in rows.iter().enumerate() {
            // A row that cannot be sent once one has been refused tells nothing.
            if let Ok(record) = record::of(row, index)
                && self.send(record).is_err()
            {
                break;
            }
        }
        let acknowledged = self.await_acknowledgements();
        // Before aborting, which takes back what is not acknowledged.
        let failed = self.failed().clone();
        self.abort()?;
        acknowledged?;
        let for_good = |failed: &[(usize, RDKafkaErrorCode)]| {
            failed
                .iter()
                .map(|(_, code)| *code)
                .find(|code| refusal::is_for_good(*code))
        };
        Ok(for_good(&failed)
            .or_else(|| for_good(&self.failed()))
            .or_else(|| failed.first().map(|(_, code)| *code)))
    }

    fn send_all(
        &self,
        rows: &[Row],
        next: &Cursor,
        portions: &mut Portions,
    ) -> Result<(), PublishError> {
        portions.begin();
        let mut malformed = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            if portions.is_full_before(row) {
                self.await_acknowledgements()?;
            }
            failpoint::hit(Point::ProduceBefore);
            match record::of(row, index) {
                Ok(record) => self.send(record).map_err(|code| {
                    self.failed().push((index, code));
                    row_error(row, code)
                })?,
                Err(problem) => malformed.push(Refused::new(row, problem)),
            }
            failpoint::hit(Point::ProduceAfter);
        }
        if !malformed.is_empty() {
            return Err(PublishError::Refused(malformed));
        }
        failpoint::hit(Point::CursorBefore);
        let cursor = serde_json::to_vec(next).map_err(|error| PublishError::Cursor {
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
            match self.producer().send(record) {
                Ok(()) => return Ok(()),
                Err((error, back)) => match error.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::QueueFull) => {
                        self.producer().poll(Duration::ZERO);
                        std::thread::sleep(Duration::from_micros(200));
                        record = back;
                    }
                    code => return Err(code.unwrap_or(RDKafkaErrorCode::Unknown)),
                },
            }
        }
    }

    /// The first record that was not taken, if one was not.
    fn first_failure(&self, rows: &[Row]) -> Result<(), PublishError> {
        let Some((index, code)) = self.failed().first().copied() else {
            return Ok(());
        };
        Err(rows
            .get(index)
            .map_or_else(|| self.cursor_error(code), |row| row_error(row, code)))
    }

    fn commit(&self) -> Result<(), PublishError> {
        failpoint::hit(Point::CommitBefore);
        loop {
            let asked = failpoint::during(Point::CommitDuring, || {
                self.producer().commit_transaction(CALL_TIMEOUT)
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

    /// Waits until every record is acknowledged, or one has failed.
    ///
    /// Not by `flush`, nor by leaving it to `commit_transaction`: both poll in slices of 100 ms that do not
    /// end early, which would be the latency of every transaction.
    fn await_acknowledgements(&self) -> Result<(), PublishError> {
        let started = Instant::now();
        while self.producer().in_flight_count() > 0 {
            self.producer().poll(Duration::ZERO);
            // What is still queued then is not sent any more, and would be waited for until it times out.
            if !self.failed().is_empty() {
                return Ok(());
            }
            if self.producer().in_flight_count() > 0 {
                if started.elapsed() > DELIVERY_TIMEOUT + CALL_TIMEOUT {
                    return Err(PublishError::Timeout(started.elapsed()));
                }
                std::thread::sleep(Duration::from_micros(100));
            }
        }
        Ok(())
    }

    /// Ends the open transaction, so that the next can begin.
    ///
    /// librdkafka takes the records back that are queued and waits for those that are on their way, whose reports only
    /// polling serves. To purge them here would leave gaps in the numbers by which the broker tells a record that is sent
    /// twice, and the next transaction would fail.
    fn abort(&self) -> Result<(), PublishError> {
        std::thread::scope(|scope| {
            let aborting = scope.spawn(|| {
                loop {
                    match self.producer().abort_transaction(CALL_TIMEOUT) {
                        Err(KafkaError::Transaction(error)) if error.is_retriable() => {}
                        aborted => return aborted,
                    }
                }
            });
            while !aborting.is_finished() {
                self.producer().poll(Duration::ZERO);
                std::thread::sleep(Duration::from_micros(100));
            }
            match aborting.join() {
                Ok(aborted) => aborted.map_err(PublishError::at("abort transaction")),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })?;
        // Reports of this transaction that nobody has polled yet would be taken for the next one's.
        let started = Instant::now();
        while self.producer().in_flight_count() > 0 && started.elapsed() < CALL_TIMEOUT {
            self.producer().poll(Duration::ZERO);
            std::thread::sleep(Duration::from_micros(100));
        }
        Ok(())
    }

    fn producer(&self) -> &BaseProducer<Deliveries> {
        self.turns.current()
    }

    fn cursor_error(&self, code: RDKafkaErrorCode) -> PublishError {
        PublishError::Kafka {
            step: "write cursor",
            source: KafkaError::MessageProduction(code),
        }
    }

    fn failed(&self) -> std::sync::MutexGuard<'_, Vec<(usize, RDKafkaErrorCode)>> {
        self.producer().client().context().failed()
    }
}

fn row_error(row: &Row, code: RDKafkaErrorCode) -> PublishError {
    PublishError::Record {
        seq: row.seq,
        event_id: row.event_id,
        topic: row.topic.to_string(),
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
