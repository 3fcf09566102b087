//! Several partitions as one list: by time between partitions, never out of order within one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use chrono::{DateTime, Utc};
use oncebox::Record;

type Timestamp = Option<DateTime<Utc>>;
type Partitions = BTreeMap<i32, VecDeque<Record>>;

/// The first `limit` records by time, and for each partition with records left over the offset of the first of them.
///
/// Timestamps within a partition need not rise, so this compares only the heads: sorting would let a record
/// overtake another of its partition, and the next page would repeat it.
pub(super) fn oldest_first(
    mut partitions: Partitions,
    limit: usize,
) -> (Vec<Record>, BTreeMap<i32, i64>) {
    let mut heads: BinaryHeap<Reverse<(Timestamp, i32)>> = partitions
        .iter()
        .filter_map(|(partition, records)| Some(Reverse((records.front()?.timestamp, *partition))))
        .collect();
    let mut taken = Vec::new();
    while taken.len() < limit
        && let Some(Reverse((_, partition))) = heads.pop()
    {
        let Some(records) = partitions.get_mut(&partition) else {
            continue;
        };
        taken.extend(records.pop_front());
        if let Some(next) = records.front() {
            heads.push(Reverse((next.timestamp, partition)));
        }
    }
    let left = partitions
        .iter()
        .filter_map(|(partition, records)| Some((*partition, records.front()?.offset)))
        .collect();
    (taken, left)
}

/// The last `limit` records by time, oldest first.
pub(super) fn newest(mut partitions: Partitions, limit: usize) -> Vec<Record> {
    let mut tails: BinaryHeap<(Timestamp, i32)> = partitions
        .iter()
        .filter_map(|(partition, records)| Some((records.back()?.timestamp, *partition)))
        .collect();
    let mut kept = Partitions::new();
    let mut count = 0;
    while count < limit
        && let Some((_, partition)) = tails.pop()
    {
        let Some(records) = partitions.get_mut(&partition) else {
            continue;
        };
        if let Some(record) = records.pop_back() {
            kept.entry(partition).or_default().push_front(record);
            count += 1;
        }
        if let Some(next) = records.back() {
            tails.push((next.timestamp, partition));
        }
    }
    oldest_first(kept, limit).0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(partition: i32, timestamps: &[i64]) -> (i32, VecDeque<Record>) {
        let records = timestamps
            .iter()
            .enumerate()
            .map(|(offset, timestamp_ms): (usize, &i64)| Record {
                topic: "t".to_owned(),
                partition,
                offset: i64::try_from(offset).unwrap(),
                timestamp: DateTime::from_timestamp_millis(*timestamp_ms),
                key: None,
                value: None,
                headers: oncebox::Headers::new(),
            })
            .collect();
        (partition, records)
    }

    fn places(records: &[Record]) -> Vec<(i32, i64)> {
        records
            .iter()
            .map(|record| (record.partition, record.offset))
            .collect()
    }

    #[test]
    fn oldest_first_by_time_and_the_rest_is_named() {
        let partitions = Partitions::from([records(0, &[10, 30]), records(1, &[20, 40])]);
        let (taken, left) = oldest_first(partitions, 3);
        assert_eq!(places(&taken), [(0, 0), (1, 0), (0, 1)]);
        assert_eq!(left, BTreeMap::from([(1, 1)]));
    }

    #[test]
    fn a_clock_that_jumps_back_overtakes_nothing() {
        let partitions = Partitions::from([records(0, &[50, 10]), records(1, &[20])]);
        let (taken, left) = oldest_first(partitions, 2);
        assert_eq!(places(&taken), [(1, 0), (0, 0)]);
        assert_eq!(left, BTreeMap::from([(0, 1)]));
    }

    #[test]
    fn newest_keeps_the_tails() {
        let partitions = Partitions::from([records(0, &[10, 30]), records(1, &[20, 40])]);
        assert_eq!(places(&newest(partitions, 2)), [(0, 1), (1, 1)]);
    }
}
