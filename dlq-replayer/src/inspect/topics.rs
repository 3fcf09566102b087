//! Topics, their partitions and settings.

use std::collections::{BTreeMap, HashMap};

use rdkafka::admin::{AdminOptions, ConfigSource, ResourceSpecifier};
use rdkafka::error::KafkaError;

use super::offsets::Partition;
use super::{Cluster, InspectError};
use crate::domain::cluster::{ConfigValue, PartitionDetail, TopicDetail, TopicKind, TopicSummary};

/// What operators ask for when records are missing, refused or too many.
const CONFIGS: [&str; 9] = [
    "cleanup.policy",
    "compression.type",
    "delete.retention.ms",
    "max.message.bytes",
    "message.timestamp.type",
    "min.insync.replicas",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
];

impl Cluster {
    pub(super) fn topics(&self) -> Result<Vec<TopicSummary>, InspectError> {
        let metadata = self.metadata()?;
        let partitions: Vec<Partition> = metadata
            .topics()
            .iter()
            .flat_map(|topic| {
                topic
                    .partitions()
                    .iter()
                    .map(|partition| (topic.name().to_owned(), partition.id()))
            })
            .collect();
        let bounds = self.bounds(&partitions)?;
        let mut spans: HashMap<&str, Option<i64>> = HashMap::new();
        for partition in &partitions {
            let span = match (bounds.first.get(partition), bounds.next.get(partition)) {
                (Some(first), Some(next)) => Some(next - first),
                _ => None,
            };
            spans
                .entry(&partition.0)
                .and_modify(|sum| *sum = sum.zip(span).map(|(sum, span)| sum + span))
                .or_insert(span);
        }
        let mut topics: Vec<TopicSummary> = metadata
            .topics()
            .iter()
            .map(|topic| TopicSummary {
                topic: topic.name().to_owned(),
                kind: TopicKind::of(topic.name()),
                partitions: topic.partitions().len(),
                replication_factor: topic
                    .partitions()
                    .first()
                    .map_or(0, |partition| partition.replicas().len()),
                offsets: spans.get(topic.name()).copied().flatten(),
            })
            .collect();
        topics.sort_by(|a, b| a.topic.cmp(&b.topic));
        Ok(topics)
    }

    pub(super) fn topic(&self, topic: &str) -> Result<TopicDetail, InspectError> {
        let partitions: Vec<Partition> = self
            .partitions(topic)?
            .into_iter()
            .map(|partition| (topic.to_owned(), partition))
            .collect();
        let bounds = self.bounds(&partitions)?;
        let high_watermarks = self.high_watermarks(&partitions)?;
        let metadata = self.metadata()?;
        let mut details: Vec<PartitionDetail> = metadata
            .topics()
            .iter()
            .filter(|found| found.name() == topic)
            .flat_map(|found| found.partitions())
            .map(|partition| {
                let id = (topic.to_owned(), partition.id());
                PartitionDetail {
                    partition: partition.id(),
                    leader: (partition.leader() >= 0).then(|| partition.leader()),
                    replicas: partition.replicas().to_vec(),
                    in_sync: partition.isr().to_vec(),
                    first_offset: bounds.first.get(&id).copied(),
                    next_offset: bounds.next.get(&id).copied(),
                    high_watermark: high_watermarks.get(&id).copied(),
                }
            })
            .collect();
        details.sort_by_key(|detail| detail.partition);
        Ok(TopicDetail {
            topic: topic.to_owned(),
            kind: TopicKind::of(topic),
            partitions: details,
            configs: BTreeMap::new(),
        })
    }

    pub(super) async fn configs(
        &self,
        topic: &str,
    ) -> Result<BTreeMap<String, ConfigValue>, InspectError> {
        let doing = "describe the topic's configuration";
        let options = AdminOptions::new().request_timeout(Some(self.timeout));
        let described = self
            .admin
            .describe_configs(&[ResourceSpecifier::Topic(topic)], &options)
            .await
            .map_err(|source| InspectError::away(doing, source))?;
        let mut configs = BTreeMap::new();
        for resource in described {
            let resource =
                resource.map_err(|code| InspectError::away(doing, KafkaError::AdminOp(code)))?;
            for entry in resource.entries {
                if CONFIGS.contains(&entry.name.as_str()) && !entry.is_sensitive {
                    let set_here = entry.source == ConfigSource::DynamicTopic;
                    configs.insert(
                        entry.name,
                        ConfigValue {
                            value: entry.value,
                            set_here,
                        },
                    );
                }
            }
        }
        Ok(configs)
    }
}
