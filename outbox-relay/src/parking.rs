//! Which rows of a batch are published and which are parked: what the relay knows of the parked rows, in memory.
//!
//! A row that the broker refuses is parked, and each later row of its key behind it, so that all other keys go on and
//! the key's order is intact when the row is repaired (design, policy `block-key`). A delayed row is parked until its
//! time. Parked rows lie in the source's database before the cursor passes them; the one relay that has the
//! source is the only one that parks and releases.

use std::collections::{HashMap, HashSet};

use crate::publish::Refused;
use crate::source::Row;

/// Why a row is parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The broker refuses it.
    Refused(String),
    /// A refused row of its key is not published yet.
    Waiting,
    /// Its time has not come.
    Delayed,
    /// The broker refuses it, and the policy of its topic is to go on without it.
    Dead(String),
}

/// A row to park.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Park {
    /// Its `seq`, by which the database copies it from the outbox.
    pub seq: i64,
    /// Its topic.
    pub topic: String,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Why.
    pub why: Why,
}

impl Park {
    fn of(row: Row, why: Why) -> Self {
        Self {
            seq: row.seq,
            topic: row.topic.to_string(),
            key: row.key.map(Vec::from),
            why,
        }
    }

    /// Whether it keeps its key from going on.
    pub(crate) fn blocks(&self) -> bool {
        matches!(self.why, Why::Refused(_) | Why::Waiting)
    }
}

/// What lies parked, as the database says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parked {
    /// Keys that are blocked, by topic, and how many rows of each wait. Rows without a key block none.
    pub blocked: Vec<(String, Vec<u8>, i64)>,
    /// Rows that wait or are refused, with and without a key.
    pub rows: i64,
    /// Parked rows that the cursor has not passed: a relay died between parking them and moving on.
    pub unpassed: Vec<i64>,
}

/// A batch, divided.
#[derive(Debug, Default)]
pub(crate) struct Split {
    /// Rows to publish, in order.
    pub(crate) publish: Vec<Row>,
    /// Rows to park before the cursor passes them.
    pub(crate) park: Vec<Park>,
}

/// What the relay knows of the parked rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parking {
    /// By topic, then key: how many rows wait.
    blocked: HashMap<String, HashMap<Vec<u8>, i64>>,
    rows: i64,
    /// Not to be published from the outbox, where they are read again.
    unpassed: HashSet<i64>,
}

impl Parking {
    pub(crate) fn of(parked: Parked) -> Self {
        let mut parking = Self {
            rows: parked.rows,
            unpassed: parked.unpassed.into_iter().collect(),
            ..Self::default()
        };
        for (topic, key, rows) in parked.blocked {
            parking.blocked.entry(topic).or_default().insert(key, rows);
        }
        parking
    }

    /// Rows that wait behind a refusal, refused ones included.
    pub(crate) fn rows(&self) -> i64 {
        self.rows
    }

    /// Keys that are blocked.
    pub(crate) fn keys(&self) -> usize {
        self.blocked.values().map(HashMap::len).sum()
    }

    /// Whether the cursor in Kafka has passed every parked row.
    pub(crate) fn is_passed(&self) -> bool {
        self.unpassed.is_empty()
    }

    /// Divides rows that were read from the outbox.
    pub(crate) fn divide(&self, rows: Vec<Row>) -> Split {
        let delayed = |row: &Row| row.not_before.is_some();
        // Almost always: nothing to look at twice.
        if self.blocked.is_empty() && self.unpassed.is_empty() && !rows.iter().any(delayed) {
            return Split {
                publish: rows,
                park: Vec::new(),
            };
        }
        let mut split = Split::default();
        for row in rows {
            if self.unpassed.contains(&row.seq) {
                continue;
            }
            let why = if delayed(&row) {
                Some(Why::Delayed)
            } else if self.blocks(&row) {
                Some(Why::Waiting)
            } else {
                None
            };
            match why {
                Some(why) => split.park.push(Park::of(row, why)),
                None => split.publish.push(row),
            }
        }
        split
    }

    fn blocks(&self, row: &Row) -> bool {
        let keys = self.blocked.get(&*row.topic);
        row.key
            .as_ref()
            .zip(keys)
            .is_some_and(|(key, keys)| keys.contains_key(&key[..]))
    }

    /// The rows of a batch that the broker refused, to be parked: by the policy of their topic. Of one key the first is
    /// refused, and the others wait for it like any later row.
    pub(crate) fn refused(
        refused: &[Refused],
        rows: &[Row],
        skips: impl Fn(&str) -> bool,
    ) -> Vec<Park> {
        let problems: HashMap<i64, &str> = refused
            .iter()
            .map(|row| (row.seq, row.problem.as_str()))
            .collect();
        let mut keys = HashSet::new();
        let mut parks = Vec::with_capacity(refused.len());
        for row in rows {
            let Some(problem) = problems.get(&row.seq) else {
                continue;
            };
            let why = if skips(&row.topic) {
                Why::Dead((*problem).to_owned())
            } else if row.key.is_some() && !keys.insert((&row.topic, &row.key)) {
                Why::Waiting
            } else {
                Why::Refused((*problem).to_owned())
            };
            parks.push(Park::of(row.clone(), why));
        }
        parks
    }

    /// These rows are in the table now.
    pub(crate) fn parked(&mut self, parks: &[Park]) {
        for park in parks {
            if self.unpassed.insert(park.seq) && park.blocks() {
                self.count(&park.topic, park.key.as_deref(), 1);
            }
        }
    }

    /// The cursor in Kafka has passed everything that was parked.
    pub(crate) fn passed(&mut self) {
        self.unpassed.clear();
    }

    /// A row was to be released and was refused. One that was delayed blocks its key from now on; one that is given up
    /// blocks it no longer.
    pub(crate) fn refused_again(&mut self, park: &Park, was_delayed: bool) {
        let change = i64::from(park.blocks()) - i64::from(!was_delayed);
        if change != 0 {
            self.count(&park.topic, park.key.as_deref(), change);
        }
    }

    /// A row that waited is published.
    pub(crate) fn released(&mut self, row: &Row) {
        self.count(&row.topic, row.key.as_deref(), -1);
    }

    fn count(&mut self, topic: &str, key: Option<&[u8]>, change: i64) {
        self.rows += change;
        let Some(key) = key else { return };
        let keys = self.blocked.entry(topic.to_owned()).or_default();
        let rows = keys.entry(key.to_owned()).or_default();
        *rows += change;
        if *rows <= 0 {
            keys.remove(key);
            if keys.is_empty() {
                self.blocked.remove(topic);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn row(seq: i64, key: Option<&str>) -> Row {
        Row {
            seq,
            event_id: Uuid::nil(),
            topic: "t".into(),
            key: key.map(|key| key.to_owned().into()),
            payload: None,
            headers: bytes::Bytes::from_static(b"{}"),
            not_before: None,
        }
    }

    fn divided(parking: &Parking, rows: &[Row]) -> (Vec<i64>, Vec<(i64, Why)>) {
        let split = parking.divide(rows.to_vec());
        (
            split.publish.iter().map(|row| row.seq).collect(),
            split
                .park
                .into_iter()
                .map(|park| (park.seq, park.why))
                .collect(),
        )
    }

    #[test]
    fn a_refused_row_holds_its_key_alone_until_all_of_it_is_released() {
        let rows = [
            row(1, Some("a")),
            row(2, Some("b")),
            row(3, Some("a")),
            row(4, None),
        ];
        let mut parking = Parking::default();
        assert_eq!(divided(&parking, &rows), (vec![1, 2, 3, 4], vec![]));
        let refused = [Refused::new(&rows[0], "too large")];
        parking.parked(&Parking::refused(&refused, &rows, |_| false));
        let (publish, park) = divided(&parking, &rows);
        assert_eq!(publish, [2, 4], "row 1 is parked already");
        assert_eq!(park, [(3, Why::Waiting)]);
        parking.parked(&parking.divide(rows.to_vec()).park);
        parking.passed();
        assert_eq!((parking.rows(), parking.keys()), (2, 1));
        assert_eq!(
            divided(&parking, &[row(5, Some("a"))]).1,
            [(5, Why::Waiting)]
        );
        parking.released(&rows[0]);
        assert_eq!(
            divided(&parking, &[row(5, Some("a"))]).1,
            [(5, Why::Waiting)]
        );
        parking.released(&rows[2]);
        assert_eq!(
            divided(&parking, &[row(5, Some("a"))]),
            (vec![5], vec![]),
            "nothing of the key waits any more"
        );
        assert_eq!((parking.rows(), parking.keys()), (0, 0));
    }

    #[test]
    fn of_two_refused_rows_of_a_key_the_second_waits() {
        let rows = [row(1, Some("a")), row(2, Some("a")), row(3, None)];
        let refused: Vec<_> = rows.iter().map(|row| Refused::new(row, "x")).collect();
        let parks = Parking::refused(&refused, &rows, |_| false);
        assert_eq!(parks[1].why, Why::Waiting);
        assert!(matches!(parks[0].why, Why::Refused(_)));
        assert!(matches!(parks[2].why, Why::Refused(_)));
    }

    #[test]
    fn a_row_without_a_key_and_a_dead_one_block_nobody() {
        let rows = [row(1, None), row(2, None), row(3, Some("a"))];
        let mut parking = Parking::default();
        let refused = [Refused::new(&rows[0], "x"), Refused::new(&rows[2], "x")];
        parking.parked(&Parking::refused(&refused[..1], &rows, |_| false));
        let park = Parking::refused(&refused[1..], &rows, |topic| topic == "t");
        assert!(matches!(park[0].why, Why::Dead(_)));
        parking.parked(&park);
        assert_eq!(
            divided(&parking, &[row(2, None), row(4, Some("a"))]).0,
            [2, 4]
        );
        assert_eq!((parking.rows(), parking.keys()), (1, 0));
    }

    #[test]
    fn a_delayed_row_leaves_the_order_of_its_key() {
        let mut late = row(1, Some("a"));
        late.not_before = Some(chrono::Utc::now());
        let rows = vec![late, row(2, Some("a"))];
        let mut parking = Parking::default();
        let split = parking.divide(rows.clone());
        assert_eq!(split.park[0].why, Why::Delayed);
        parking.parked(&split.park);
        assert_eq!(split.publish[0].seq, 2);
        assert_eq!(parking.rows(), 0);
        parking.refused_again(&Park::of(rows[0].clone(), Why::Refused("x".into())), true);
        assert_eq!(parking.keys(), 1, "refused when its time came");
        parking.refused_again(&Park::of(rows[0].clone(), Why::Refused("x".into())), false);
        assert_eq!((parking.rows(), parking.keys()), (1, 1));
        parking.refused_again(&Park::of(rows[0].clone(), Why::Dead("x".into())), false);
        assert_eq!((parking.rows(), parking.keys()), (0, 0));
    }

    #[test]
    fn what_a_dead_relay_parked_is_not_published_from_the_outbox() {
        let parking = Parking::of(Parked {
            blocked: vec![("t".into(), b"a".to_vec(), 1)],
            rows: 1,
            unpassed: vec![1],
        });
        let (publish, park) = divided(
            &parking,
            &[row(1, Some("a")), row(2, Some("a")), row(3, Some("b"))],
        );
        assert_eq!((publish, park), (vec![3], vec![(2, Why::Waiting)]));
    }
}
