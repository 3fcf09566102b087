//! What must not slow a drain: a transaction left open beneath every row, and ten million rows that wait.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Serialize;

use super::drain::{self, Drains};
use super::fill::{self, Stream};
use super::options::Plan;
use crate::ground::Ground;
use crate::program::{Program, free_port};

/// The first batches are not counted: caches fill, memory grows to its size.
const WARM_UP: Duration = Duration::from_secs(2);

/// The rate with many rows waiting, over a stretch of time.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Waiting {
    pub(crate) rows: u64,
    pub(crate) published: u64,
    pub(crate) rows_per_second: f64,
    pub(crate) rows_per_cpu_second: f64,
    pub(crate) peak_rss_mb: f64,
}

/// Drains as usual, with a transaction open all the while that wrote a row before any of the others was written.
pub(crate) async fn open_transaction(ground: &Ground, plan: &Plan) -> anyhow::Result<Drains> {
    let (url, pool) = ground.database("open").await?;
    let stream = Stream::new(ground, "open").await?;
    let mut open = pool.begin().await?;
    sqlx::query("insert into oncebox.outbox (event_id, topic) values (gen_random_uuid(), $1)")
        .bind(&stream.topic)
        .execute(&mut *open)
        .await?;
    fill::outbox(ground, &url, &stream, plan.rows, plan.rows_per_transaction).await?;
    let drains = drain::relay(
        ground,
        "open transaction",
        "open",
        &url,
        &stream,
        (plan.rows, plan.runs),
    )
    .await?;
    open.rollback().await?;
    pool.close().await;
    Ok(drains)
}

/// Publishes for a while from the beginning of so many rows.
pub(crate) async fn waiting(ground: &Ground, plan: &Plan, rows: u64) -> anyhow::Result<Waiting> {
    let (url, pool) = ground.database("waiting").await?;
    pool.close().await;
    let stream = Stream::new(ground, "waiting").await?;
    fill::outbox(ground, &url, &stream, rows, plan.rows_per_transaction).await?;
    ground.say(&format!("{rows} rows wait"));
    let port = free_port()?;
    let mut relay = Program::relay(ground, "waiting", &[("bench".to_owned(), url)], port)?;
    let begun = async {
        while published(port).await.unwrap_or(0) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(WARM_UP).await;
        published(port).await
    };
    let before = relay.during(begun).await?;
    let (started, cpu) = (Instant::now(), relay.cpu_seconds()?);
    let stretch = async {
        tokio::time::sleep(Duration::from_secs(plan.waiting_seconds)).await;
        published(port).await
    };
    let out = relay.during(stretch).await?;
    let took = started.elapsed().as_secs_f64();
    ensure!(
        out < rows,
        "all {rows} rows were out before the {} s were over",
        plan.waiting_seconds
    );
    let waiting = Waiting {
        rows,
        published: out - before,
        rows_per_second: (out - before) as f64 / took,
        rows_per_cpu_second: (out - before) as f64 / (relay.cpu_seconds()? - cpu).max(0.01),
        peak_rss_mb: relay.peak_rss_mb()?,
    };
    relay.kill().await?;
    Ok(waiting)
}

/// What the relay says that it has published.
async fn published(port: u16) -> anyhow::Result<u64> {
    let url = format!("http://127.0.0.1:{port}/v1/sources");
    let sources: serde_json::Value = reqwest::get(url).await?.error_for_status()?.json().await?;
    sources[0]["published_rows"]
        .as_u64()
        .context("the relay does not say what it has published")
}
