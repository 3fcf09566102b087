//! The relay: publishes the outbox rows of one or several databases to Kafka, exactly once as a read_committed
//! consumer sees it (guarantees G1 to G4).
//!
//! For each source: [`source`] reads what has committed since the [`cursor`], [`publish`] writes it together with the
//! new cursor in one Kafka transaction. Kafka's cursor decides; nothing else has to be right for that.

pub mod api;
mod coordinator;
pub mod cursor;
pub mod failpoint;
mod happening;
mod instance;
mod maintenance;
mod metric;
mod observer;
mod pace;
mod parking;
mod process;
pub mod publish;
mod reset;
mod run;
pub mod settings;
pub mod shard;
pub mod source;
mod spread;
pub mod state;
mod takeover;
mod trace;
mod wake;

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::config::ClientConfig;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use maintenance::Upkeep;
pub use run::{SERVICE, VERSION, run};
pub use settings::{Settings, SourceSettings};

use api::Desk;
use coordinator::Coordinator;
use shard::Shard;
use source::{PollingSource, Source as _, SourceError};
use state::{Shards, Shared};
use takeover::Seats;

/// Every key of the configuration with its default, explained.
pub const DEFAULTS: &str = include_str!("defaults.toml");

/// The sources at work.
#[derive(Debug)]
pub struct Relay {
    sources: Vec<Arc<Shards>>,
    desks: BTreeMap<String, Desk>,
    tasks: JoinSet<()>,
}

impl Relay {
    /// Starts publishing every source of the settings; each recovers on its own.
    ///
    /// # Errors
    /// [`SourceError`] when a source's address is none.
    pub fn start(settings: Settings, shutdown: &CancellationToken) -> Result<Self, SourceError> {
        let settings = Arc::new(settings);
        let mut kafka = ClientConfig::new();
        kafka
            .set("bootstrap.servers", &settings.kafka)
            .set("client.id", "outbox-relay")
            // After an outage the first attempt decides when publishing goes on; the default would pause up to 10 s.
            .set("reconnect.backoff.max.ms", "1000");
        for (name, value) in &settings.kafka_properties {
            kafka.set(name, value);
        }
        let mut relay = Self {
            sources: Vec::new(),
            desks: BTreeMap::new(),
            tasks: JoinSet::new(),
        };
        for (name, source) in &settings.sources {
            relay.publish(name, source, &kafka, &settings, shutdown)?;
        }
        Ok(relay)
    }

    /// Sets one source to work: whoever publishes its shards, and whoever looks after it beside that.
    fn publish(
        &mut self,
        name: &str,
        configured: &SourceSettings,
        kafka: &ClientConfig,
        settings: &Arc<Settings>,
        shutdown: &CancellationToken,
    ) -> Result<(), SourceError> {
        let source = PollingSource::new(configured.url(), &configured.table())?;
        let another = || source.another(Shard::ONLY);
        let shards = Arc::new(Shards::new(name));
        let seats = Seats::new(kafka, settings, name);
        // An order at a time; the next is refused meanwhile.
        let (give, orders) = mpsc::channel(1);
        self.tasks.spawn(wake::listen(
            name.to_owned(),
            configured.url().to_owned(),
            Arc::clone(&shards),
            shutdown.clone(),
        ));
        self.tasks.spawn(maintenance::maintain(
            name.to_owned(),
            another(),
            Arc::clone(&shards),
            settings.upkeep(),
            shutdown.clone(),
        ));
        self.tasks.spawn(observer::observe(
            name.to_owned(),
            another(),
            Arc::clone(&shards),
            shutdown.clone(),
        ));
        let coordinator = Coordinator::new(
            name,
            another(),
            seats.clone(),
            Arc::clone(settings),
            Arc::clone(&shards),
            shutdown.clone(),
        );
        self.tasks.spawn(coordinator.run(orders));
        let desk = Desk {
            shards: Arc::clone(&shards),
            database: Mutex::new(source),
            orders: give,
            latest: watch::Sender::new(None),
            seats,
        };
        self.desks.insert(name.to_owned(), desk);
        self.sources.push(shards);
        Ok(())
    }

    /// What each shard of each source is doing.
    pub fn shared(&self) -> Vec<Arc<Shared>> {
        self.sources
            .iter()
            .flat_map(|shards| shards.list())
            .collect()
    }

    /// What is known of each source.
    pub(crate) fn sources(&self) -> Vec<Arc<Shards>> {
        self.sources.clone()
    }

    /// What operators reach the sources by; to be taken once.
    pub(crate) fn take_desks(&mut self) -> BTreeMap<String, Desk> {
        std::mem::take(&mut self.desks)
    }

    /// Waits until every source has ended: after the shutdown token, when the transactions in hand are finished.
    pub async fn ended(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}
