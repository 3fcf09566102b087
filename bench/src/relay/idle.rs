//! What the relay costs while nothing happens: processor time of its own, and of the servers that it asks.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::ground::{Ground, Servers};
use crate::program::{Program, free_port};

/// Databases that an idle relay looks after.
pub(crate) const DATABASES: usize = 4;

/// An idle stretch, in percent of one core.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Idle {
    pub(crate) sources: usize,
    pub(crate) program_percent: f64,
    /// Beyond what the server uses without the program.
    pub(crate) postgres_percent: Option<f64>,
    pub(crate) broker_percent: Option<f64>,
    pub(crate) peak_rss_mb: f64,
}

/// A relay with four databases and nothing to publish.
pub(crate) async fn relay(ground: &Ground, seconds: u64) -> anyhow::Result<Idle> {
    ground.say(&format!("{DATABASES} databases with nothing to publish"));
    let mut sources = Vec::new();
    for number in 1..=DATABASES {
        let (url, pool) = ground.database(&format!("idle{number}")).await?;
        pool.close().await;
        sources.push((format!("idle{number}"), url));
    }
    let without = stretch(ground, seconds).await;
    let port = free_port()?;
    let mut relay = Program::relay(ground, "idle", &sources, port)?;
    relay.during(ready(port)).await?;
    let idle = program(ground, &mut relay, DATABASES, seconds, without).await?;
    relay.kill().await?;
    Ok(idle)
}

/// Watches a program that has come to rest.
pub(crate) async fn program(
    ground: &Ground,
    program: &mut Program,
    sources: usize,
    seconds: u64,
    without: Servers,
) -> anyhow::Result<Idle> {
    // What starting left to do is not what resting costs.
    let settle = async {
        tokio::time::sleep(Duration::from_secs(5.min(seconds))).await;
        anyhow::Ok(())
    };
    program.during(settle).await?;
    let (before, started) = (program.cpu_seconds()?, Instant::now());
    let watched = async { anyhow::Ok(stretch(ground, seconds).await) };
    let servers = program.during(watched).await?.since(without);
    let used = program.cpu_seconds()? - before;
    Ok(Idle {
        sources,
        program_percent: used / started.elapsed().as_secs_f64() * 100.0,
        postgres_percent: servers.postgres.map(|percent| percent.max(0.0)),
        broker_percent: servers.broker.map(|percent| percent.max(0.0)),
        peak_rss_mb: program.peak_rss_mb()?,
    })
}

/// What the servers use over a stretch of time, in percent of a core.
pub(crate) async fn stretch(ground: &Ground, seconds: u64) -> Servers {
    let (before, started) = (ground.servers(), Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let (used, took) = (
        ground.servers().since(before),
        started.elapsed().as_secs_f64(),
    );
    let percent = |seconds: f64| seconds / took * 100.0;
    Servers {
        postgres: used.postgres.map(percent),
        broker: used.broker.map(percent),
    }
}

/// Waits until the program on that port says that it is ready.
pub(crate) async fn ready(port: u16) -> anyhow::Result<()> {
    let url = format!("http://127.0.0.1:{port}/health/ready");
    let started = Instant::now();
    loop {
        if let Ok(answer) = reqwest::get(&url).await
            && answer.status().is_success()
        {
            return Ok(());
        }
        anyhow::ensure!(
            started.elapsed() < Duration::from_secs(60),
            "{url} does not say ready within a minute"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
