//! A topic with records, and subjects that consume it into databases of their own.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use oncebox::Codec;
use sqlx::PgPool;
use tokio::process::Command;

use super::event;
use super::histogram::Histogram;
use super::load::Load;
use super::offsets::{self, Progress};
use super::subject::Kind;
use crate::ground::Ground;
use crate::program::Program;

/// A drain that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(1800);
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(crate) struct Field<'a> {
    pub(crate) ground: &'a Ground,
    registry: String,
    pub(crate) topic: String,
    pub(crate) load: Load,
}

/// A database for one subject, with the accounts that it changes.
pub(crate) struct Site {
    pub(crate) url: String,
    pub(crate) pool: PgPool,
}

/// A subject at work.
pub(crate) struct Running {
    pub(crate) program: Program,
    group: String,
    latencies: PathBuf,
}

impl<'a> Field<'a> {
    /// A new, empty topic.
    pub(crate) async fn new(ground: &'a Ground, label: &str) -> anyhow::Result<Self> {
        let registry = std::env::var("ONCEBOX_SCHEMA_REGISTRY").context(
            "ONCEBOX_SCHEMA_REGISTRY is not set; `cargo dev bench` starts a stack and sets it",
        )?;
        let topic = ground.topic(label).await?;
        let load = Load::new(ground, &Codec::new(&registry, None)?, &topic)?;
        Ok(Self {
            ground,
            registry,
            topic,
            load,
        })
    }

    pub(crate) async fn site(&self, label: &str) -> anyhow::Result<Site> {
        let (url, pool) = self.ground.database(label).await?;
        event::open_accounts(&pool).await?;
        // No checkpoint of the preparation falls into a measurement.
        sqlx::raw_sql("checkpoint").execute(&pool).await?;
        Ok(Site { url, pool })
    }

    /// Starts a subject in a group of its own, which so begins at the beginning.
    pub(crate) fn start(
        &self,
        kind: Kind,
        site: &Site,
        group: &str,
        fail_seconds: u64,
    ) -> anyhow::Result<Running> {
        let group = format!("{}.{group}", self.ground.name);
        let latencies = self.ground.log("inbox-latencies").with_extension("json");
        let _ = std::fs::remove_file(&latencies);
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["inbox-subject", "--kind", kind.name()])
            .args(["--kafka", &self.ground.kafka])
            .args(["--registry", &self.registry])
            .args(["--database", &site.url])
            .args(["--topic", &self.topic])
            .args(["--group-id", &group])
            .args(["--fail-seconds", &fail_seconds.to_string()])
            .arg("--latencies")
            .arg(&latencies);
        Ok(Running {
            program: Program::start(self.ground, command, "inbox-subject")?,
            group,
            latencies,
        })
    }
}

impl Running {
    /// Waits until every record of the topic is finished for the group.
    pub(crate) async fn finish(
        &mut self,
        field: &Field<'_>,
        records: u64,
    ) -> anyhow::Result<Progress> {
        let (kafka, group) = (field.ground.kafka.clone(), self.group.clone());
        let topic = field.topic.clone();
        let committed = tokio::task::spawn_blocking(move || {
            offsets::committed(&kafka, &group, &topic, records, PATIENCE)
        });
        self.program.during(async { committed.await? }).await
    }

    /// Waits until so many events have taken effect, those of parked keys too.
    pub(crate) async fn effects(&mut self, site: &Site, records: u64) -> anyhow::Result<()> {
        let done = async {
            let waited = std::time::Instant::now();
            loop {
                let effects = event::effects(&site.pool).await?;
                if effects >= records {
                    return Ok(());
                }
                anyhow::ensure!(
                    waited.elapsed() < PATIENCE,
                    "{effects} of {records} events have taken effect"
                );
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        self.program.during(done).await
    }

    /// Ends it; its latencies.
    pub(crate) async fn end(self) -> anyhow::Result<Histogram> {
        self.program.terminate().await?;
        let text = std::fs::read(&self.latencies)
            .context("the subject left no latencies; its log says why")?;
        Ok(serde_json::from_slice(&text)?)
    }
}
