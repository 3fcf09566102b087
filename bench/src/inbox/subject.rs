//! The consumer that is measured, as a process of its own, so that its processor time and memory are its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use oncebox::{Codec, Consumer, ConsumerSettings, Each, RetryPolicy};
use serde::Serialize;
use sqlx::postgres::PgPoolOptions;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::handlers::{Move1, MoveMany, Watch};
use super::plain;

/// Name of the group, which scopes the inbox.
pub(crate) const GROUP: &str = "bench";

/// Between two looks of a monitoring at the metrics.
const SCRAPE: Duration = Duration::from_secs(5);

/// What to run.
#[derive(Debug, Args)]
pub(crate) struct Subject {
    #[arg(long)]
    kind: Kind,
    #[arg(long)]
    kafka: String,
    #[arg(long)]
    registry: String,
    #[arg(long)]
    database: String,
    #[arg(long)]
    topic: String,
    /// The group at the broker: another one begins at the beginning.
    #[arg(long)]
    group_id: String,
    /// For how many seconds after the first record 1 % of the keys fail.
    #[arg(long, default_value_t = 0)]
    fail_seconds: u64,
    /// Where latencies go at the end.
    #[arg(long)]
    latencies: Option<PathBuf>,
}

/// Who consumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Single,
    Batch,
    Plain,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Batch => "batch",
            Self::Plain => "plain",
        }
    }
}

impl Subject {
    /// Consumes until SIGTERM.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        // As a service does: metrics are recorded, and read now and then.
        let telemetry = telemetry::init("bench", "0", telemetry::LogFormat::Text, "warn")?;
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SCRAPE).await;
                let _ = telemetry.render();
            }
        });
        let stop = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let told = stop.clone();
        tokio::spawn(async move {
            terminate.recv().await;
            told.cancel();
        });
        let pool = PgPoolOptions::new()
            .max_connections(13)
            .connect(&self.database)
            .await?;
        let codec = Codec::new(&self.registry, Some(pool.clone()))?;
        let watch = Arc::new(Watch::new(Duration::from_secs(self.fail_seconds)));
        let mut settings = ConsumerSettings::new(&self.kafka, GROUP, [self.topic.as_str()]);
        settings
            .kafka
            .insert("group.id".into(), self.group_id.clone());
        // What fails here goes on failing for a minute, and shall not be given up.
        settings.retry = RetryPolicy {
            retries: 10_000,
            ..RetryPolicy::default()
        };
        match self.kind {
            Kind::Single => {
                let handler = Each(Move1(Arc::clone(&watch)));
                Consumer::new(settings, pool, codec, "bench", handler)
                    .run(stop)
                    .await?;
            }
            Kind::Batch => {
                let handler = MoveMany(Arc::clone(&watch));
                Consumer::new(settings, pool, codec, "bench", handler)
                    .run(stop)
                    .await?;
            }
            Kind::Plain => {
                plain::run(
                    &self.kafka,
                    &self.group_id,
                    &self.topic,
                    &pool,
                    &codec,
                    &stop,
                )
                .await?;
            }
        }
        if let Some(path) = &self.latencies {
            std::fs::write(path, serde_json::to_vec(&watch.latencies())?)?;
        }
        Ok(())
    }
}
