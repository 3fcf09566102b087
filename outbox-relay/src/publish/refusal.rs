//! Which rows of a failed transaction the broker refused, and which only failed beside them.

use std::collections::{HashMap, HashSet};
use std::fmt;

use rdkafka::error::RDKafkaErrorCode;
use uuid::Uuid;

use crate::source::Row;

/// A row that the broker will not take, however often it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The row's `seq`.
    pub seq: i64,
    /// The row's event.
    pub event_id: Uuid,
    /// The row's topic.
    pub topic: String,
    /// What the broker, or librdkafka on its behalf, said.
    pub problem: String,
}

impl Refused {
    pub(crate) fn new(row: &Row, problem: impl ToString) -> Self {
        Self {
            seq: row.seq,
            event_id: row.event_id,
            topic: row.topic.to_string(),
            problem: problem.to_string(),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "row {} (event {}) for topic {}: {}",
            self.seq, self.event_id, self.topic, self.problem
        )
    }
}

/// Errors that say something about one record, and say the same when it is sent again.
pub(super) fn is_for_good(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::PolicyViolation
    )
}

/// How many bytes of one topic may be on their way together, where a batch of them was too large.
///
/// A topic's `max.message.bytes` is a limit of record batches, and a refused batch fails each record in it, also those
/// that would have passed alone. What may travel together is halved until the records that fail were alone.
#[derive(Debug, Default)]
pub(super) struct Portions {
    limits: HashMap<String, usize>,
    sent: HashMap<String, usize>,
}

/// What librdkafka puts into one batch at most.
const BATCH_BYTES: usize = 1_000_000;

impl Portions {
    pub(super) fn begin(&mut self) {
        self.sent.clear();
    }

    /// Whether what was sent so far has to be acknowledged before this row is sent.
    pub(super) fn is_full_before(&mut self, row: &Row) -> bool {
        let Some(limit) = self.limits.get(&*row.topic) else {
            return false;
        };
        let sent = self.sent.entry(row.topic.to_string()).or_default();
        let full = *sent > 0 && *sent + row.size_bytes() > *limit;
        *sent = if full { 0 } else { *sent } + row.size_bytes().max(1);
        full
    }

    /// Whether the row was alone in its batch, given that so many bytes of its topic may travel together.
    fn was_alone(&self, row: &Row) -> bool {
        self.limits
            .get(&*row.topic)
            .is_some_and(|limit| row.size_bytes().max(1) >= *limit)
    }

    fn halve(&mut self, topic: &str, suspects: usize) {
        let limit = self.limits.get(topic).copied().unwrap_or(BATCH_BYTES);
        self.limits
            .insert(topic.to_owned(), (limit.min(suspects) / 2).max(1));
    }
}

/// What the delivery reports of a failed transaction say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// These rows are to blame.
    Refused(Vec<Refused>),
    /// Too large together: to be sent again in smaller portions.
    Again,
    /// The broker found fault with one of these rows, or several, and did not say which.
    Doubt(Vec<usize>),
    /// No row is to blame.
    Innocent,
}

/// Sorts out the failed rows. A row that failed because another one of its transaction did is not to blame.
pub(super) fn judge(
    rows: &[Row],
    failed: &[(usize, RDKafkaErrorCode)],
    portions: &mut Portions,
) -> Verdict {
    let mut refused = Vec::new();
    let mut too_large: HashMap<&str, Vec<&Row>> = HashMap::new();
    let mut in_doubt: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut seen = HashSet::new();
    for (index, code) in failed.iter().filter(|(_, code)| is_for_good(*code)) {
        let Some(row) = rows.get(*index).filter(|_| seen.insert(*index)) else {
            continue;
        };
        match code {
            RDKafkaErrorCode::MessageSizeTooLarge => {
                too_large.entry(&row.topic).or_default().push(row);
            }
            RDKafkaErrorCode::InvalidRecord | RDKafkaErrorCode::PolicyViolation => {
                in_doubt.entry(&row.topic).or_default().push(*index);
            }
            _ => refused.push(Refused::new(row, code)),
        }
    }
    let doubt = in_doubt.into_values().next().unwrap_or_default();
    if let ([index], Some((_, code))) = (
        &doubt[..],
        failed.iter().find(|(i, _)| doubt.first() == Some(i)),
    ) && let Some(row) = rows.get(*index)
    {
        refused.push(Refused::new(row, code));
    }
    let mut again = false;
    for (topic, suspects) in too_large {
        if let [row] = suspects[..] {
            refused.push(Refused::new(row, RDKafkaErrorCode::MessageSizeTooLarge));
            continue;
        }
        let (alone, together): (Vec<_>, Vec<_>) = suspects
            .into_iter()
            .partition(|row| portions.was_alone(row));
        refused.extend(
            alone
                .into_iter()
                .map(|row| Refused::new(row, RDKafkaErrorCode::MessageSizeTooLarge)),
        );
        if !together.is_empty() {
            again = true;
            portions.halve(topic, together.iter().map(|row| row.size_bytes()).sum());
        }
    }
    refused.sort_by_key(|row| row.seq);
    match (refused.is_empty(), again) {
        (false, _) => Verdict::Refused(refused),
        (true, true) => Verdict::Again,
        (true, false) if doubt.len() > 1 => Verdict::Doubt(doubt),
        (true, false) => Verdict::Innocent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seq: i64, bytes: usize) -> Row {
        Row {
            seq,
            event_id: Uuid::nil(),
            topic: "t".into(),
            key: None,
            payload: Some(vec![0; bytes].into()),
            headers: "{}".into(),
            not_before: None,
        }
    }

    /// A broker whose topic takes so many bytes in a batch, told of rows in the portions that are asked for.
    fn ask(rows: &[Row], limit: usize, portions: &mut Portions) -> Vec<(usize, RDKafkaErrorCode)> {
        let mut batches: Vec<Vec<usize>> = vec![vec![]];
        portions.begin();
        for (index, row) in rows.iter().enumerate() {
            if portions.is_full_before(row) {
                batches.push(vec![]);
            }
            batches.last_mut().unwrap().push(index);
        }
        batches
            .into_iter()
            .filter(|batch| batch.iter().map(|i| rows[*i].size_bytes()).sum::<usize>() > limit)
            .flatten()
            .map(|index| (index, RDKafkaErrorCode::MessageSizeTooLarge))
            .collect()
    }

    #[test]
    fn of_rows_that_are_too_large_together_only_those_are_refused_that_are_so_alone() {
        let rows: Vec<_> = (0..50)
            .map(|seq| row(seq, if seq % 20 == 7 { 5000 } else { 100 }))
            .collect();
        let mut portions = Portions::default();
        let mut good: Vec<_> = rows;
        let mut refused = Vec::new();
        for _ in 0..40 {
            let failed = ask(&good, 1000, &mut portions);
            match judge(&good, &failed, &mut portions) {
                Verdict::Refused(rows) => {
                    good.retain(|row| rows.iter().all(|refused| refused.seq != row.seq));
                    refused.extend(rows.into_iter().map(|row| row.seq));
                }
                Verdict::Again => {}
                Verdict::Innocent | Verdict::Doubt(_) => break,
            }
        }
        assert_eq!(refused, [7, 27, 47]);
        assert_eq!(ask(&good, 1000, &mut portions), []);
        assert!(portions.limits["t"] > 100, "halved no further than needed");
    }

    #[test]
    fn rows_that_fail_beside_a_refused_one_are_not_to_blame() {
        let rows = [row(1, 1), row(2, 1), row(3, 1)];
        let failed = [
            (0, RDKafkaErrorCode::InvalidDifferentRecord),
            (1, RDKafkaErrorCode::InvalidRecord),
            (2, RDKafkaErrorCode::PurgeQueue),
        ];
        let Verdict::Refused(refused) = judge(&rows, &failed, &mut Portions::default()) else {
            panic!("row 2 is refused");
        };
        assert_eq!(refused.iter().map(|row| row.seq).collect::<Vec<_>>(), [2]);
        let failed = [(0, RDKafkaErrorCode::MessageTimedOut)];
        let verdict = judge(&rows, &failed, &mut Portions::default());
        assert_eq!(verdict, Verdict::Innocent);
        let failed = [
            (0, RDKafkaErrorCode::InvalidRecord),
            (1, RDKafkaErrorCode::InvalidRecord),
        ];
        let verdict = judge(&rows, &failed, &mut Portions::default());
        assert_eq!(verdict, Verdict::Doubt(vec![0, 1]));
    }
}
