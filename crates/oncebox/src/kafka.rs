//! What every client of the broker in this house shares: its configuration, and creating topics.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// A topic that [`ensure_topics`] creates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Full name, with any prefix.
    pub name: String,
    /// Number of partitions.
    pub partitions: i32,
    /// Copies of each partition; 1 on a single broker.
    pub replication: i32,
    /// Topic configuration, for example `("cleanup.policy", "compact")`.
    pub config: Vec<(String, String)>,
}

/// Why topics could not be created.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The broker did not answer.
    #[error("topics cannot be created: {0}")]
    Broker(#[from] KafkaError),
    /// The broker refuses one of them.
    #[error("the broker refuses to create topic {topic}: {reason}")]
    Refused {
        /// Its name.
        topic: String,
        /// What the broker says.
        reason: String,
    },
}

impl TopicError {
    /// Stable code, with a page under `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Broker(_) => "kafka.away",
            Self::Refused { .. } => "kafka.topic_refused",
        }
    }
}

/// What every client shares: the address, a name in the broker's logs, and a partitioner that puts a key where
/// Java clients put it.
pub fn client_config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("client.id", "oncebox")
        .set("partitioner", "murmur2_random")
        // A broker that comes back is found within a second, also after a long outage.
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.keepalive.enable", "true")
        .set("allow.auto.create.topics", "false");
    config
}

/// Creates the topics that do not exist yet. Those that exist are left as they are. Returns how many were created.
///
/// # Errors
/// [`TopicError`]; topics before the refused one exist then, and calling again is safe.
pub async fn ensure_topics(bootstrap: &str, topics: &[TopicSpec]) -> Result<usize, TopicError> {
    let admin: AdminClient<DefaultClientContext> = client_config(bootstrap).create()?;
    let new: Vec<NewTopic<'_>> = topics
        .iter()
        .map(|topic| {
            let replication = TopicReplication::Fixed(topic.replication);
            topic.config.iter().fold(
                NewTopic::new(&topic.name, topic.partitions, replication),
                |new, (name, value)| new.set(name, value),
            )
        })
        .collect();
    let options = AdminOptions::new()
        .request_timeout(Some(Duration::from_secs(30)))
        .operation_timeout(Some(Duration::from_secs(30)));
    let mut created = 0;
    for result in admin.create_topics(&new, &options).await? {
        match result {
            Ok(_) => created += 1,
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                return Err(TopicError::Refused {
                    topic,
                    reason: code.to_string(),
                });
            }
        }
    }
    Ok(created)
}
