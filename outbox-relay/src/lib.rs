//! The relay: publishes the outbox rows of one or several databases to Kafka, exactly once as a read_committed
//! consumer sees it (guarantees G1 to G4).
//!
//! For each source: [`source`] reads what has committed since the [`cursor`], [`publish`] writes it together with the
//! new cursor in one Kafka transaction. Kafka's cursor decides; nothing else has to be right for that.

mod api;
pub mod cursor;
pub mod failpoint;
mod happening;
mod instance;
mod lease;
mod maintenance;
mod metric;
mod observer;
mod pace;
pub mod publish;
mod run;
pub mod settings;
pub mod source;
pub mod state;
mod takeover;

use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use run::{SERVICE, VERSION, run};
pub use settings::Settings;

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
        let mut relay = Self {
            shared: Vec::new(),
            tasks: JoinSet::new(),
        };
        for (name, url) in &settings.sources {
            let shared = Arc::new(Shared::new(name));
            let (cursors, observed) = watch::channel(None);
            let instance = Instance {
                name: name.clone(),
                source: PollingSource::new(url)?,
                seat: Seat::new(&kafka, &settings, name),
                settings: Arc::clone(&settings),
                shared: Arc::clone(&shared),
                cursors,
                shutdown: shutdown.clone(),
                stop: shutdown.clone(),
            };
            let lasts = Duration::from_secs(settings.lease_seconds);
            let lease = Lease::new(name, PollingSource::new(url)?, Arc::clone(&shared), lasts);
            let observer = PollingSource::new(url)?;
            relay.tasks.spawn(instance.run(lease));
            relay.tasks.spawn(maintenance::maintain(
                name.clone(),
                PollingSource::new(url)?,
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
            relay.shared.push(shared);
        }
        Ok(relay)
    }

    /// What each source is doing.
    pub fn shared(&self) -> &[Arc<Shared>] {
        &self.shared
    }

    /// Waits until every source has ended: after the shutdown token, when the transactions in hand are finished.
    pub async fn ended(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}
