//! What is known of topics: which there are, asked before the first row is sent to one, and which take no row without a key.
//!
//! Without asking, librdkafka keeps a row for a topic that is not there for seconds before it fails, and with it the
//! rows of every other topic in the transaction.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};

use super::refusal::{Refused, is_for_good};
use crate::source::Row;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Topics that were there when they were asked for.
#[derive(Debug, Default)]
pub(super) struct Topics {
    known: HashSet<String>,
}

impl Topics {
    /// The rows whose topic is not there, or not for this client. Asks once for each topic that is not known.
    pub(super) fn refuse<C: ProducerContext>(
        &mut self,
        producer: &BaseProducer<C>,
        rows: &[Row],
    ) -> Result<Vec<Refused>, KafkaError> {
        let mut refused = Vec::new();
        let mut asked: Option<(&str, Option<RDKafkaErrorCode>)> = None;
        for row in rows {
            let problem = match asked {
                Some((topic, problem)) if topic == &*row.topic => problem,
                _ => self.problem(producer, &row.topic)?,
            };
            asked = Some((&row.topic, problem));
            if let Some(code) = problem {
                refused.push(Refused::new(row, code));
            }
        }
        Ok(refused)
    }

    fn problem<C: ProducerContext>(
        &mut self,
        producer: &BaseProducer<C>,
        topic: &str,
    ) -> Result<Option<RDKafkaErrorCode>, KafkaError> {
        if self.known.contains(topic) {
            return Ok(None);
        }
        if topic.is_empty() || topic.contains('\0') {
            return Ok(Some(RDKafkaErrorCode::InvalidTopic));
        }
        let metadata = producer.client().fetch_metadata(Some(topic), TIMEOUT)?;
        let problem = metadata
            .topics()
            .first()
            .and_then(|topic| topic.error())
            .map(RDKafkaErrorCode::from)
            .filter(|code| is_for_good(*code));
        if problem.is_none() {
            self.known.insert(topic.to_owned());
        }
        Ok(problem)
    }

    /// A topic may have gone since it was asked for.
    pub(super) fn forget(&mut self, refused: &[Refused]) {
        for row in refused {
            self.known.remove(&row.topic);
        }
    }
}

/// How long a topic is believed to refuse rows without a key.
const BELIEVED: Duration = Duration::from_secs(5);

/// Compacted topics refuse rows without a key, and to find one of those among many takes several transactions. When one
/// was found, its like are refused without asking for a while.
#[derive(Debug, Default)]
pub(super) struct Keyless {
    refusing: HashMap<String, (Instant, String)>,
}

impl Keyless {
    pub(super) fn learn(&mut self, rows: &[Row], refused: &Refused) {
        if rows
            .iter()
            .any(|row| row.seq == refused.seq && row.key.is_none())
        {
            self.refusing.insert(
                refused.topic.clone(),
                (Instant::now(), refused.problem.clone()),
            );
        }
    }

    pub(super) fn refuse(&mut self, rows: &[Row]) -> Vec<Refused> {
        if self.refusing.is_empty() {
            return Vec::new();
        }
        self.refusing
            .retain(|_, (since, _)| since.elapsed() < BELIEVED);
        rows.iter()
            .filter(|row| row.key.is_none())
            .filter_map(|row| {
                let (_, problem) = self.refusing.get(&*row.topic)?;
                Some(Refused::new(row, problem))
            })
            .collect()
    }
}
