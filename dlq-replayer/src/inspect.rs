//! Looking into Kafka: topics, groups, records. Reads only; joins no group, commits nothing.
//!
//! librdkafka's calls block, so each question runs on a blocking thread and has a deadline: a broker that is
//! away is reported within seconds and never hangs a request.

mod error;
mod groups;
mod offsets;
mod reader;
mod topics;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::AdminClient;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::metadata::Metadata;

pub use error::InspectError;
pub(crate) use reader::owned;
pub use reader::{Filter, Isolation, Page, PageRequest, Start};

use crate::domain::cluster::{GroupDetail, GroupSummary, TopicDetail, TopicSummary};
use crate::domain::nearest::nearest;
use crate::domain::position::Position;
use crate::kafka_log::Reports;

/// A window on one cluster. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Inspector {
    cluster: Arc<Cluster>,
}

/// The blocking side: connections that live as long as the process.
struct Cluster {
    config: ClientConfig,
    /// Sees the end of a partition as a read_committed consumer does.
    committed: BaseConsumer<Reports>,
    /// Sees the records of open transactions too.
    uncommitted: BaseConsumer<Reports>,
    admin: AdminClient<Reports>,
    timeout: Duration,
}

impl Inspector {
    /// Opens a window on the cluster behind `bootstrap`. Nothing is asked of it yet, so it may be away.
    /// `timeout` bounds each question, `extra` are librdkafka properties (security, for example).
    ///
    /// # Errors
    /// [`InspectError::Configuration`] when librdkafka does not take the configuration.
    pub fn new(
        bootstrap: &str,
        timeout: Duration,
        extra: &BTreeMap<String, String>,
    ) -> Result<Self, InspectError> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            .set("client.id", "oncebox-inspect")
            .set("enable.auto.commit", "false")
            .set("allow.auto.create.topics", "false")
            // A broker that comes back is found within a second, not after librdkafka's ten.
            .set("reconnect.backoff.max.ms", "1000");
        for (name, value) in extra {
            config.set(name, value);
        }
        let with_isolation = |isolation: Isolation| -> Result<BaseConsumer<Reports>, InspectError> {
            let mut config = config.clone();
            config.set("isolation.level", isolation.as_str());
            config
                .create_with_context(Reports)
                .map_err(InspectError::Configuration)
        };
        let cluster = Cluster {
            committed: with_isolation(Isolation::Committed)?,
            uncommitted: with_isolation(Isolation::Uncommitted)?,
            admin: config
                .create_with_context(Reports)
                .map_err(InspectError::Configuration)?,
            config,
            timeout,
        };
        Ok(Self {
            cluster: Arc::new(cluster),
        })
    }

    /// All topics, by name.
    ///
    /// # Errors
    /// [`InspectError::Away`] when no broker answers in time.
    pub async fn topics(&self) -> Result<Vec<TopicSummary>, InspectError> {
        self.ask(Cluster::topics).await
    }

    /// One topic with its partitions and settings.
    ///
    /// # Errors
    /// [`InspectError::UnknownTopic`], [`InspectError::Away`].
    pub async fn topic(&self, topic: String) -> Result<TopicDetail, InspectError> {
        let named = topic.clone();
        let mut detail = self.ask(move |cluster| cluster.topic(&named)).await?;
        detail.configs = self.cluster.configs(&topic).await?;
        Ok(detail)
    }

    /// All consumer groups, by name.
    ///
    /// # Errors
    /// [`InspectError::Away`].
    pub async fn groups(&self) -> Result<Vec<GroupSummary>, InspectError> {
        self.ask(Cluster::groups).await
    }

    /// One group with its members and its lag.
    ///
    /// # Errors
    /// [`InspectError::UnknownGroup`], [`InspectError::Away`].
    pub async fn group(&self, group: String) -> Result<GroupDetail, InspectError> {
        self.ask(move |cluster| cluster.group(&group)).await
    }

    /// Where in each partition of `topic` (or in the one given) a position lies.
    ///
    /// # Errors
    /// [`InspectError::UnknownTopic`], [`InspectError::UnknownPartition`], [`InspectError::OffsetNeedsPartition`],
    /// [`InspectError::Away`].
    pub async fn resolve(
        &self,
        topic: String,
        partition: Option<i32>,
        position: Position,
    ) -> Result<BTreeMap<i32, i64>, InspectError> {
        self.ask(move |cluster| cluster.resolve(&topic, partition, position))
            .await
    }

    /// Reads one page of records.
    ///
    /// # Errors
    /// As for [`Inspector::resolve`].
    pub async fn page(&self, request: PageRequest) -> Result<Page, InspectError> {
        self.ask(move |cluster| cluster.page(&request)).await
    }

    /// Those of these topics that exist. No names, no question.
    ///
    /// # Errors
    /// [`InspectError::Away`].
    pub async fn existing(&self, names: Vec<String>) -> Result<HashSet<String>, InspectError> {
        if names.is_empty() {
            return Ok(HashSet::new());
        }
        self.ask(move |cluster| {
            let metadata = cluster.metadata()?;
            let known: HashSet<&str> = metadata.topics().iter().map(|topic| topic.name()).collect();
            Ok(names
                .into_iter()
                .filter(|name| known.contains(name.as_str()))
                .collect())
        })
        .await
    }

    /// Asks whether a broker answers.
    ///
    /// # Errors
    /// [`InspectError::Away`] when none does.
    pub async fn ping(&self) -> Result<(), InspectError> {
        self.ask(|cluster| cluster.metadata().map(|_| ())).await
    }

    async fn ask<T, F>(&self, question: F) -> Result<T, InspectError>
    where
        T: Send + 'static,
        F: FnOnce(&Cluster) -> Result<T, InspectError> + Send + 'static,
    {
        let cluster = Arc::clone(&self.cluster);
        tokio::task::spawn_blocking(move || question(&cluster))
            .await
            .map_err(InspectError::Panicked)?
    }
}

impl Cluster {
    /// What the cluster holds. Always all topics: the names are needed to tell an unknown one from a known.
    fn metadata(&self) -> Result<Metadata, InspectError> {
        // Nobody polls this client otherwise, and its queue would gather connection errors for ever.
        for client in [&self.committed, &self.uncommitted] {
            while client.poll(Duration::ZERO).is_some() {}
        }
        self.committed
            .fetch_metadata(None, self.timeout)
            .map_err(|source| InspectError::away("list topics", source))
    }

    /// The partitions of a topic, in order.
    fn partitions(&self, topic: &str) -> Result<Vec<i32>, InspectError> {
        let metadata = self.metadata()?;
        let Some(found) = metadata
            .topics()
            .iter()
            .find(|candidate| candidate.name() == topic)
        else {
            return Err(InspectError::UnknownTopic {
                topic: topic.to_owned(),
                nearest: nearest(topic, metadata.topics().iter().map(|topic| topic.name())),
            });
        };
        let mut partitions: Vec<i32> = found
            .partitions()
            .iter()
            .map(|partition| partition.id())
            .collect();
        partitions.sort_unstable();
        Ok(partitions)
    }

    /// Like [`Cluster::partitions`], narrowed to one where one is asked for.
    fn chosen_partitions(
        &self,
        topic: &str,
        partition: Option<i32>,
    ) -> Result<Vec<i32>, InspectError> {
        let partitions = self.partitions(topic)?;
        match partition {
            None => Ok(partitions),
            Some(partition) if partitions.contains(&partition) => Ok(vec![partition]),
            Some(partition) => Err(InspectError::UnknownPartition {
                topic: topic.to_owned(),
                partition,
                count: partitions.len(),
            }),
        }
    }
}

impl std::fmt::Debug for Inspector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspector")
            .field("timeout", &self.cluster.timeout)
            .finish_non_exhaustive()
    }
}
