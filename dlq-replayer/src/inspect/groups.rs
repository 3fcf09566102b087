//! Consumer groups: who is in them and how far they are.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::groups::GroupInfo;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use super::offsets::Partition;
use super::reader::{Isolation, Scan, Span, Verdict};
use super::{Cluster, InspectError};
use crate::domain::cluster::{GroupDetail, GroupMember, GroupPartition, GroupSummary};
use crate::domain::nearest::nearest;
use crate::kafka_log::Reports;

/// A group that is further behind than this lags, whatever lies there.
const MARKERS_AT_MOST: i64 = 1_000;
/// How long looking at what lies there may take; what is not known by then counts as lag.
const LAG_LOOK: Duration = Duration::from_secs(2);

impl Cluster {
    pub(super) fn groups(&self) -> Result<Vec<GroupSummary>, InspectError> {
        let list = self
            .committed
            .fetch_group_list(None, self.timeout)
            .map_err(|source| InspectError::away("list groups", source))?;
        let mut groups: Vec<GroupSummary> = list
            .groups()
            .iter()
            .map(|group| GroupSummary {
                group: group.name().to_owned(),
                state: group.state().to_owned(),
                protocol: group.protocol().to_owned(),
                members: group.members().len(),
            })
            .collect();
        groups.sort_by(|a, b| a.group.cmp(&b.group));
        Ok(groups)
    }

    pub(super) fn group(&self, name: &str) -> Result<GroupDetail, InspectError> {
        let list = self
            .committed
            .fetch_group_list(None, self.timeout)
            .map_err(|source| InspectError::away("list groups", source))?;
        let Some(group) = list.groups().iter().find(|group| group.name() == name) else {
            return Err(InspectError::UnknownGroup {
                group: name.to_owned(),
                nearest: nearest(name, list.groups().iter().map(GroupInfo::name)),
            });
        };
        let mut owners: BTreeMap<Partition, String> = BTreeMap::new();
        let mut members = Vec::with_capacity(group.members().len());
        for member in group.members() {
            let assigned = member
                .assignment()
                .and_then(parse_assignment)
                .unwrap_or_default();
            members.push(GroupMember {
                member: member.id().to_owned(),
                client: member.client_id().to_owned(),
                host: member.client_host().trim_start_matches('/').to_owned(),
                partitions: assigned.len(),
            });
            owners.extend(
                assigned
                    .into_iter()
                    .map(|partition| (partition, member.id().to_owned())),
            );
        }
        let committed = self.committed_offsets(name)?;
        let concerned: Vec<Partition> = committed
            .keys()
            .chain(owners.keys())
            .cloned()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let next_offsets = self.bounds(&concerned)?.next;
        let read = self.read_to_the_end(&committed, &next_offsets)?;
        let partitions: Vec<GroupPartition> = concerned
            .into_iter()
            .map(|partition| {
                let committed = committed.get(&partition).copied();
                let next_offset = next_offsets.get(&partition).copied();
                GroupPartition {
                    committed,
                    next_offset,
                    lag: next_offset.zip(committed).map(|(next, committed)| {
                        // A topic that was made anew ends before what was committed to the old one: 0, not below.
                        if read.contains(&partition) {
                            0
                        } else {
                            (next - committed).max(0)
                        }
                    }),
                    member: owners.get(&partition).cloned(),
                    topic: partition.0,
                    partition: partition.1,
                }
            })
            .collect();
        Ok(GroupDetail {
            group: name.to_owned(),
            state: group.state().to_owned(),
            protocol: group.protocol().to_owned(),
            members,
            lag: partitions
                .iter()
                .filter_map(|partition| partition.lag)
                .sum(),
            partitions,
        })
    }

    /// The partitions in which nothing but transaction markers and aborted records lies between the committed offset
    /// and the end. Offsets alone cannot tell: where a producer uses transactions, a group that has read everything
    /// would look one behind for ever.
    fn read_to_the_end(
        &self,
        committed: &BTreeMap<Partition, i64>,
        next_offsets: &HashMap<Partition, i64>,
    ) -> Result<HashSet<Partition>, InspectError> {
        let deadline = Instant::now() + self.timeout.min(LAG_LOOK);
        let mut spans: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
        for (partition, committed) in committed {
            let Some(next) = next_offsets.get(partition) else {
                continue;
            };
            if (1..=MARKERS_AT_MOST).contains(&(next - committed)) {
                let span = Span {
                    partition: partition.1,
                    start: *committed,
                    end: *next,
                };
                spans.entry(&partition.0).or_default().push(span);
            }
        }
        let mut read = HashSet::new();
        for (topic, spans) in spans {
            let mut holds_records = HashSet::new();
            let scan = Scan::new(&self.config, topic, Isolation::Committed)?;
            let outcome = scan.run(&spans, deadline, |message| {
                holds_records.insert(message.partition());
                Verdict::PartitionDone
            })?;
            for span in spans {
                let through = outcome
                    .positions
                    .get(&span.partition)
                    .is_some_and(|position| *position >= span.end);
                if through && !holds_records.contains(&span.partition) {
                    read.insert((topic.to_owned(), span.partition));
                }
            }
        }
        Ok(read)
    }

    /// What the group has committed, asked by a client that carries its name and never joins it.
    fn committed_offsets(&self, group: &str) -> Result<BTreeMap<Partition, i64>, InspectError> {
        let away = |source| InspectError::away("read committed offsets", source);
        let mut config = self.config.clone();
        config.set("group.id", group);
        let client: BaseConsumer<Reports> = config
            .create_with_context(Reports)
            .map_err(InspectError::Configuration)?;
        let mut asked = TopicPartitionList::new();
        for topic in self.metadata()?.topics() {
            for partition in topic.partitions() {
                asked.add_partition(topic.name(), partition.id());
            }
        }
        let found = client
            .committed_offsets(asked, self.timeout)
            .map_err(away)?;
        Ok(found
            .elements()
            .iter()
            .filter_map(|element| match element.offset() {
                Offset::Offset(offset) => {
                    Some(((element.topic().to_owned(), element.partition()), offset))
                }
                _ => None,
            })
            .collect())
    }
}

/// Reads the consumer protocol's assignment: version, then topics with their partitions, big-endian.
/// Nothing when a member speaks another protocol, as Kafka Connect's workers do.
fn parse_assignment(bytes: &[u8]) -> Option<Vec<Partition>> {
    let mut reader = Reader(bytes);
    reader.i16()?;
    let topics = reader.i32()?;
    let mut partitions = Vec::new();
    for _ in 0..topics {
        let length = usize::try_from(reader.i16()?).ok()?;
        let topic = std::str::from_utf8(reader.take(length)?).ok()?.to_owned();
        for _ in 0..reader.i32()? {
            partitions.push((topic.clone(), reader.i32()?));
        }
    }
    Some(partitions)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    fn i16(&mut self) -> Option<i16> {
        Some(i16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn i32(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read() {
        let mut bytes = vec![0, 1, 0, 0, 0, 1, 0, 2, b't', b'1', 0, 0, 0, 2];
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 3]);
        bytes.extend_from_slice(&[0xff; 4]);
        assert_eq!(
            parse_assignment(&bytes).unwrap(),
            vec![("t1".to_owned(), 0), ("t1".to_owned(), 3)]
        );
    }

    #[test]
    fn a_cut_or_foreign_assignment_is_none() {
        for bytes in [
            &[][..],
            &[0, 1, 0, 0, 0, 1, 0, 9, b't'],
            &[0, 1, 0x7f, 0xff, 0xff, 0xff],
            &[0, 0, 0, 0, 0, 1, 0xff, 0xff],
        ] {
            assert!(parse_assignment(bytes).is_none());
        }
    }
}
