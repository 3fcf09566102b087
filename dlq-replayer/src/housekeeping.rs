//! What has to happen now and then: figures, retention, partitions ahead.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::Utc;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::happenings::LettersExpired;
use crate::store;

const FIGURES: Duration = Duration::from_secs(15);
const REMOVAL: Duration = Duration::from_secs(3_600);

/// Runs until `shutdown`. A round that fails is told and made up for by the next.
pub(crate) async fn run(pool: PgPool, retention_days: u32, shutdown: CancellationToken) {
    let mut shown = BTreeSet::new();
    let mut removed: Option<Instant> = None;
    loop {
        if let Err(error) = figures(&pool, &mut shown).await {
            tracing::warn!(%error, "figures of the dead-letter index not taken");
        }
        if removed.is_none_or(|at| at.elapsed() >= REMOVAL) {
            match upkeep(&pool, retention_days).await {
                Ok(()) => removed = Some(Instant::now()),
                Err(error) => tracing::warn!(%error, "upkeep of the dead-letter index failed"),
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(FIGURES) => {}
        }
    }
}

/// Open letters by topic. A topic that has none any more is shown with 0 instead of its last figure.
async fn figures(pool: &PgPool, shown: &mut BTreeSet<String>) -> Result<(), sqlx::Error> {
    let open = store::open_by_topic(pool).await?;
    for topic in shown
        .iter()
        .filter(|topic| !open.iter().any(|(found, _)| found == *topic))
    {
        metrics::gauge!("oncebox_dlq_letters_open", "topic" => topic.clone()).set(0.0);
    }
    for (topic, count) in open {
        // Exact up to 2^53, and an index never holds that many.
        #[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
        metrics::gauge!("oncebox_dlq_letters_open", "topic" => topic.clone()).set(count as f64);
        shown.insert(topic);
    }
    Ok(())
}

async fn upkeep(pool: &PgPool, retention_days: u32) -> Result<(), sqlx::Error> {
    oncebox::migrations::ensure_partitions(pool).await?;
    let Some(limit) = Utc::now().checked_sub_days(chrono::Days::new(retention_days.into())) else {
        return Ok(());
    };
    let letters = store::remove_older(pool, limit).await?;
    if letters > 0 {
        telemetry::emit(LettersExpired {
            letters,
            days: retention_days,
        });
    }
    Ok(())
}
