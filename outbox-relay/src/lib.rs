//! The relay: publishes the outbox rows of one or several databases to Kafka, exactly once as a read_committed
//! consumer sees it (guarantees G1 to G4).
//!
//! For each source: [`source`] reads what has committed since the [`cursor`], [`publish`] writes it together with the
//! new cursor in one Kafka transaction. Kafka's cursor decides; nothing else has to be right for that.

pub mod api;
pub mod cursor;
pub mod failpoint;
mod happening;
mod instance;
mod lease;
mod maintenance;
mod metric;
mod observer;
mod pace;
mod parking;
pub mod publish;
mod reset;
mod run;
pub mod settings;
pub mod source;
pub mod state;
mod takeover;
mod trace;
mod wake;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use tokio::sync::{Mutex, Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use maintenance::Upkeep;
pub use run::{SERVICE, VERSION, run};
pub use settings::{Settings, SourceSettings};

use api::Desk;
use instance::Instance;
use lease::Lease;
use source::{PollingSource, SourceError};
use state::Shared;
use takeover::Seat;

/// Every key of the configuration with its default, explained.
pub const DEFAULTS: &str = include_str!("defaults.toml");

/// The sources at work.
#[derive(Debug)]
pub struct Relay {
    shared: Vec<Arc<Shared>>,
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
            shared: Vec::new(),
            desks: BTreeMap::new(),
            tasks: JoinSet::new(),
        };
        for (name, source) in &settings.sources {
            let woken = Arc::new(Notify::new());
            // An order at a time; the next is refused meanwhile.
            let (give, orders) = mpsc::channel(1);
            let (table, poke) = (source.table(), Arc::new(Notify::new()));
            let open = || PollingSource::new(source.url(), &table);
            let shared = Arc::new(Shared::new(name));
            let (cursors, observed) = watch::channel(None);
            let instance = Instance {
                name: name.clone(),
                source: open()?,
                seat: Seat::new(&kafka, &settings, name),
                settings: Arc::clone(&settings),
                shared: Arc::clone(&shared),
                cursors,
                shutdown: shutdown.clone(),
                stop: shutdown.clone(),
                poke: Arc::clone(&poke),
                wake: Arc::clone(&woken),
            };
            relay.tasks.spawn(wake::listen(
                name.clone(),
                source.url().to_owned(),
                woken,
                shutdown.clone(),
            ));
            let lasts = Duration::from_secs(settings.lease_seconds);
            let lease = Lease::new(name, open()?, Arc::clone(&shared), lasts);
            let observer = open()?;
            relay.tasks.spawn(instance.run(lease, orders));
            relay.tasks.spawn(maintenance::maintain(
                name.clone(),
                open()?,
                observed.clone(),
                settings.upkeep(),
                shutdown.clone(),
            ));
            relay.tasks.spawn(observer::observe(
                name.clone(),
                observer,
                observed,
                Arc::clone(&shared),
                shutdown.clone(),
            ));
            let desk = Desk {
                shared: Arc::clone(&shared),
                database: Mutex::new(open()?),
                poke,
                orders: give,
                seat: Seat::new(&kafka, &settings, name),
            };
            relay.desks.insert(name.clone(), desk);
            relay.shared.push(shared);
        }
        Ok(relay)
    }

    /// What each source is doing.
    pub fn shared(&self) -> &[Arc<Shared>] {
        &self.shared
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
