//! Offsets of many partitions by one question to each leader, where librdkafka's own call asks them one by one.

use std::collections::{BTreeMap, HashMap};

use chrono::Utc;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use super::{Cluster, InspectError};
use crate::domain::position::Position;
use crate::kafka_log::Reports;

/// In Kafka's ListOffsets request these stand for instants before the first and after the last record.
const BEFORE_FIRST: Offset = Offset::Beginning;
const AFTER_LAST: Offset = Offset::End;

pub(super) type Partition = (String, i32);

/// First and end offset of partitions; one without a leader has no entry.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    pub(super) first: HashMap<Partition, i64>,
    /// Where a read_committed consumer ends.
    pub(super) next: HashMap<Partition, i64>,
}

impl Cluster {
    /// First offsets and committed ends.
    pub(super) fn bounds(&self, partitions: &[Partition]) -> Result<Bounds, InspectError> {
        Ok(Bounds {
            first: self.list_offsets(&self.committed, partitions, BEFORE_FIRST)?,
            next: self.list_offsets(&self.committed, partitions, AFTER_LAST)?,
        })
    }

    /// The ends beyond which there is nothing at all, not even of an open transaction.
    pub(super) fn high_watermarks(
        &self,
        partitions: &[Partition],
    ) -> Result<HashMap<Partition, i64>, InspectError> {
        self.list_offsets(&self.uncommitted, partitions, AFTER_LAST)
    }

    /// Offsets of the first record at or after an instant in milliseconds; the end where there is none.
    pub(super) fn at_instant(
        &self,
        partitions: &[Partition],
        instant_ms: i64,
        ends: &HashMap<Partition, i64>,
    ) -> Result<HashMap<Partition, i64>, InspectError> {
        // Negative instants are commands in this request, and nothing was recorded before 1970.
        let found = self.list_offsets(
            &self.committed,
            partitions,
            Offset::Offset(instant_ms.max(0)),
        )?;
        Ok(ends
            .iter()
            .map(|(partition, end)| {
                (
                    partition.clone(),
                    found
                        .get(partition)
                        .map_or(*end, |offset| (*offset).min(*end)),
                )
            })
            .collect())
    }

    fn list_offsets(
        &self,
        client: &BaseConsumer<Reports>,
        partitions: &[Partition],
        at: Offset,
    ) -> Result<HashMap<Partition, i64>, InspectError> {
        if partitions.is_empty() {
            return Ok(HashMap::new());
        }
        let away = |source| InspectError::away("list offsets", source);
        let mut wanted = TopicPartitionList::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            wanted
                .add_partition_offset(topic, *partition, at)
                .map_err(away)?;
        }
        let found = client
            .offsets_for_times(wanted, self.timeout)
            .map_err(away)?;
        Ok(found
            .elements()
            .iter()
            .filter(|element| element.error().is_ok())
            .filter_map(|element| match element.offset() {
                Offset::Offset(offset) => {
                    Some(((element.topic().to_owned(), element.partition()), offset))
                }
                _ => None,
            })
            .collect())
    }

    /// Where in each chosen partition a position lies.
    pub(super) fn resolve(
        &self,
        topic: &str,
        partition: Option<i32>,
        position: Position,
    ) -> Result<BTreeMap<i32, i64>, InspectError> {
        let partitions: Vec<Partition> = self
            .chosen_partitions(topic, partition)?
            .into_iter()
            .map(|partition| (topic.to_owned(), partition))
            .collect();
        let bounds = self.bounds(&partitions)?;
        let found = match position {
            Position::Earliest => bounds.first,
            Position::Latest => bounds.next,
            Position::Offset(offset) => match partition {
                None => return Err(InspectError::OffsetNeedsPartition { offset }),
                Some(_) => clamp(offset, &bounds),
            },
            Position::Time(_) | Position::Ago(_) => {
                // An age that reaches back before the calendar begins means the beginning.
                let instant = position
                    .instant(Utc::now())
                    .map_or(0, |at| at.timestamp_millis());
                self.at_instant(&partitions, instant, &bounds.next)?
            }
        };
        Ok(found
            .into_iter()
            .map(|((_, partition), offset)| (partition, offset))
            .collect())
    }
}

/// Offsets outside of what is there mean the nearest that is.
fn clamp(offset: i64, bounds: &Bounds) -> HashMap<Partition, i64> {
    bounds
        .next
        .iter()
        .map(|(partition, next)| {
            let first = bounds.first.get(partition).copied().unwrap_or(0);
            (partition.clone(), offset.clamp(first, (*next).max(first)))
        })
        .collect()
}
