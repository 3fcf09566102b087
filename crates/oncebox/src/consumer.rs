//! The consumer: records in, effects once, offsets after them.
//!
//! One thread polls ([`run`](Consumer::run) starts it); one task for each owned partition handles what was fetched,
//! a batch in one transaction: the inbox rows that make effects happen once, the handler's own rows, its
//! outbox events and the dead letters of records that cannot be decoded. Offsets follow the commit, never
//! the other way round, so a crash at any point repeats records, which the inbox then recognises.
//!
//! What is kept when something fails: a transient failure is tried again at once, then parked with everything of
//! its key while all other keys go on (see [`crate::parking`]), and dead-lettered after its last attempt; a permanent
//! one and poison are dead-lettered at once; while something that every record needs is away (database, registry, a
//! dependency that the handler reports, or one whose absence shows in too many failures: see [`crate::flood`]) the
//! partition waits and nothing is counted.
//!
//! What of this can be loosened and tightened: a handler declares event types [order-free](BatchHandler::order_free), whose
//! records are handled beside the others, several at once; and a consumer demands each key's [sequence](crate::sequence),
//! so that records which the topic has out of order are handled in order.
//!
//! Two work for each partition: one takes records from the topic, the other tries parked ones again. Each transaction
//! of either checks that the partition is still owned (see [`ConsumerError::Superseded`]).

mod batch;
mod bell;
mod buffer;
mod drain;
mod flood_guard;
mod free;
mod group;
mod happening;
mod health;
mod intake;
mod noting;
mod order;
mod partition;
mod poll;
mod prefix;
mod settings;
mod tenure;
mod trace;
mod transaction;
mod upkeep;
mod waiting;
mod worker;

use std::sync::Arc;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

pub use health::{ConsumerHealth, ConsumerStatus};
pub use settings::{ConsumerSettings, Identity};

use crate::codec::Codec;
use crate::handler::BatchHandler;
use crate::kafka;
use crate::outbox::Outbox;
use bell::Bell;
use buffer::Share;
use group::Group;
use worker::Handling;

/// A member of a consumer group that gives records to a handler.
pub struct Consumer<H> {
    handling: Arc<Handling<H>>,
    health: ConsumerHealth,
}

/// Why a consumer ended by itself. Everything that passes (an outage of broker, database or registry) is waited for instead.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// librdkafka refuses the configuration or the subscription.
    #[error("the kafka consumer cannot be made: {0}")]
    Configuration(#[from] KafkaError),
    /// librdkafka says that this member cannot go on, for example because another has its static id.
    #[error("the kafka consumer cannot go on: {0}")]
    Fatal(String),
    /// Another process works for a partition that the group still gives to this member. Started again, it takes the
    /// partition over by the group's rules.
    #[error("{topic}/{partition} is owned by another process, though the group assigned it here")]
    Superseded {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
    },
    /// The task of a partition ended without being asked to.
    #[error("the task of {topic}/{partition} ended unexpectedly")]
    TaskDied {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
    },
    /// The poll thread could not be started, or ended without a word.
    #[error("the poll thread failed: {0}")]
    Thread(String),
}

impl ConsumerError {
    /// Stable code, with a page under `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Configuration(_) => "consumer.configuration",
            Self::Fatal(_) => "consumer.fatal",
            Self::Superseded { .. } => "consumer.superseded",
            Self::TaskDied { .. } | Self::Thread(_) => "consumer.internal",
        }
    }
}

impl<H: BatchHandler> Consumer<H> {
    /// A consumer over the service's database: inbox, attempts and dead letters are rows in it (see
    /// [`crate::migrate`]). `version` is the service's, for dead letters.
    ///
    /// The pool needs one connection for each partition that is handled at the same time, and one more for each that
    /// has parked keys; with fewer they take turns.
    pub fn new(
        settings: ConsumerSettings,
        pool: PgPool,
        codec: Codec,
        version: &str,
        handler: H,
    ) -> Self {
        let health = ConsumerHealth::new();
        let outbox = Outbox::new(codec.clone(), &settings.group, &settings.topic_prefix);
        Self {
            handling: Arc::new(Handling {
                settings,
                pool,
                codec,
                outbox,
                version: version.to_owned(),
                handler,
                health: health.clone(),
                woken: tokio::sync::watch::Sender::new(0),
            }),
            health,
        }
    }

    /// A handle to the consumer's state.
    pub fn health(&self) -> ConsumerHealth {
        self.health.clone()
    }

    /// Consumes until `shutdown` is cancelled: then it fetches no more, finishes or abandons the batches in hand within the
    /// shutdown deadline, commits what is finished and leaves the group.
    ///
    /// Dropping the future does the same in the background.
    ///
    /// # Errors
    /// [`ConsumerError`], when it cannot go on. An outage is no error: it is waited for.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ConsumerError> {
        let stop = shutdown.child_token();
        let _stop_when_dropped = stop.clone().drop_guard();
        let settings = &self.handling.settings;
        let upkeep = upkeep::run(
            self.handling.pool.clone(),
            settings.group.clone(),
            settings.inbox_retention,
            stop.clone(),
        );
        let bell = Arc::new(Bell::default());
        let group = Group::new(
            settings.group.clone(),
            self.health.clone(),
            stop,
            Share::new(settings.buffer_max_bytes, Arc::clone(&bell)),
            settings.shutdown_deadline,
            worker::starter(Arc::clone(&self.handling)),
        );
        let consumer: BaseConsumer<Group> = client_config(settings).create_with_context(group)?;
        let subscription = settings.subscription();
        let topics: Vec<&str> = subscription.iter().map(String::as_str).collect();
        consumer.subscribe(&topics)?;

        let (ended, end) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .name(format!("poll-{}", settings.group))
            .spawn(move || {
                // Fails only when nobody waits any more.
                let _ = ended.send(poll::run(consumer, &bell));
            })
            .map_err(|error| ConsumerError::Thread(error.to_string()))?;
        tracing::info!(group = settings.group, topics = ?subscription, "consumer started");
        self.health.set_running(true);
        tokio::spawn(upkeep);
        let result = end
            .await
            .unwrap_or_else(|_| Err(ConsumerError::Thread("it panicked".into())));
        self.health.set_running(false);
        tracing::info!(group = settings.group, "consumer ended");
        result
    }
}

impl<H> std::fmt::Debug for Consumer<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer")
            .field("group", &self.handling.settings.group)
            .finish_non_exhaustive()
    }
}

fn client_config(settings: &ConsumerSettings) -> ClientConfig {
    let mut config = kafka::client_config(&settings.bootstrap);
    config
        .set("group.id", settings.group_id())
        .set("isolation.level", "read_committed")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // A group without offsets begins at the beginning: a service that comes late misses nothing.
        .set("auto.offset.reset", "earliest")
        // Of each partition, beside what its buffer holds; with the answer that is on its way, twice as much and more, since
        // records come compressed and in whole batches.
        .set("queued.max.messages.kbytes", "96")
        .set("fetch.message.max.bytes", "49152")
        // And fetched again as soon as there is room: the default is to wait for a second.
        .set("fetch.queue.backoff.ms", "2")
        // One request at a time is under way to a broker. While the busy partitions have enough, it asks for the idle ones
        // alone, and the busy ones wait until it is answered: by default for half a second.
        .set("fetch.wait.max.ms", "40")
        .set("session.timeout.ms", "10000")
        .set("heartbeat.interval.ms", "3000")
        .set("statistics.interval.ms", "5000")
        // Replay topics are found soon after they are created.
        .set("topic.metadata.refresh.interval.ms", "30000");
    if settings.has_pattern() {
        config.set("topic.metadata.refresh.interval.ms", "5000");
    }
    for (name, value) in &settings.kafka {
        config.set(name, value);
    }
    config
}
