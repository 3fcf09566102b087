//! Publishing a backlog: from the first record that a reader may have to the last.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinHandle;

use super::fill::Stream;
use super::topic::{First, Mark, Reader, blocking, census};
use crate::ground::{Ground, Servers};
use crate::program::{Program, free_port};
use crate::spread::Spread;

/// A drain that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(1800);

/// One drain.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Drained {
    /// From the start of the program until its first record was consumable.
    pub(crate) first_after_seconds: f64,
    /// From the start of the program until its last record was consumable.
    pub(crate) last_after_seconds: f64,
    /// Rows a second between the two, without those that came with the first.
    pub(crate) rows_per_second: f64,
    /// Of the program, from its start on; of one that ran already, since it was told to begin.
    pub(crate) cpu_seconds: f64,
    pub(crate) rows_per_cpu_second: f64,
    pub(crate) peak_rss_mb: f64,
    pub(crate) postgres_cpu_seconds: Option<f64>,
    pub(crate) broker_cpu_seconds: Option<f64>,
    /// Events that never came.
    pub(crate) missing: u64,
    /// Records beyond the first of an event.
    pub(crate) duplicates: u64,
}

/// Several drains.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Drains {
    pub(crate) first_after_seconds: Spread,
    pub(crate) last_after_seconds: Spread,
    pub(crate) rows_per_second: Spread,
    pub(crate) cpu_seconds: Spread,
    pub(crate) rows_per_cpu_second: Spread,
    pub(crate) peak_rss_mb: Spread,
    pub(crate) postgres_cpu_seconds: Option<Spread>,
    pub(crate) broker_cpu_seconds: Option<Spread>,
    pub(crate) missing: u64,
    pub(crate) duplicates: u64,
}

impl Drained {
    pub(crate) fn in_short(&self) -> String {
        format!(
            "{:.0} rows/s, {:.0} rows per CPU second, {:.1} MB, first after {:.2} s",
            self.rows_per_second,
            self.rows_per_cpu_second,
            self.peak_rss_mb,
            self.first_after_seconds
        )
    }
}

impl Drains {
    pub(crate) fn of(runs: &[Drained]) -> Self {
        let spread = |figure: fn(&Drained) -> f64| Spread::of(runs.iter().map(figure));
        let perhaps = |figure: fn(&Drained) -> Option<f64>| {
            let figures: Option<Vec<_>> = runs.iter().map(figure).collect();
            figures.map(Spread::of)
        };
        Self {
            first_after_seconds: spread(|run| run.first_after_seconds),
            last_after_seconds: spread(|run| run.last_after_seconds),
            rows_per_second: spread(|run| run.rows_per_second),
            cpu_seconds: spread(|run| run.cpu_seconds),
            rows_per_cpu_second: spread(|run| run.rows_per_cpu_second),
            peak_rss_mb: spread(|run| run.peak_rss_mb),
            postgres_cpu_seconds: perhaps(|run| run.postgres_cpu_seconds),
            broker_cpu_seconds: perhaps(|run| run.broker_cpu_seconds),
            missing: runs.iter().map(|run| run.missing).sum(),
            duplicates: runs.iter().map(|run| run.duplicates).sum(),
        }
    }
}

/// Watches a stream from before the drain begins.
pub(crate) struct Watch {
    kafka: String,
    stream: Stream,
    pub(crate) before: Mark,
    first: JoinHandle<anyhow::Result<First>>,
    last: JoinHandle<anyhow::Result<First>>,
    servers: Servers,
    started: Instant,
}

impl Watch {
    pub(crate) async fn begin(ground: &Ground, stream: &Stream) -> anyhow::Result<Self> {
        let (kafka, topics) = (ground.kafka.clone(), stream.clone());
        let (before, first, last) = blocking(move || {
            let (topic, end) = (
                Mark::now(&kafka, &topics.topic)?,
                Mark::now(&kafka, &topics.end)?,
            );
            let first = Reader::at(&kafka, &topics.topic, &topic)?;
            let last = Reader::at(&kafka, &topics.end, &end)?;
            Ok((topic, first, last))
        })
        .await?;
        Ok(Self {
            kafka: ground.kafka.clone(),
            stream: stream.clone(),
            before,
            first: tokio::task::spawn_blocking(move || first.first(PATIENCE)),
            last: tokio::task::spawn_blocking(move || last.first(PATIENCE)),
            servers: ground.servers(),
            started: Instant::now(),
        })
    }

    /// Waits for the end, and takes the program's figures at that moment. `idle_cpu` is what it had used before.
    pub(crate) async fn measure(
        self,
        ground: &Ground,
        program: &mut Program,
        rows: u64,
        idle_cpu: f64,
    ) -> anyhow::Result<Drained> {
        let last = program.during(async { self.last.await? }).await?.at;
        let cpu_seconds = program.cpu_seconds()? - idle_cpu;
        let (peak_rss_mb, servers) = (program.peak_rss_mb()?, ground.servers().since(self.servers));
        let first = program.during(async { self.first.await? }).await?;
        let between = last.duration_since(first.looked_at).as_secs_f64();
        // The marker of each transaction and partition is among the offsets: a handful at the first record.
        let came_before = first.grown_to.since(&self.before).min(rows);
        let (kafka, topic, before) = (self.kafka, self.stream.topic, self.before);
        let counted = blocking(move || census(&kafka, &topic, &before, rows)).await?;
        Ok(Drained {
            first_after_seconds: first.at.duration_since(self.started).as_secs_f64(),
            last_after_seconds: last.duration_since(self.started).as_secs_f64(),
            rows_per_second: (rows - came_before) as f64 / between.max(f64::EPSILON),
            cpu_seconds,
            rows_per_cpu_second: rows as f64 / cpu_seconds.max(0.01),
            peak_rss_mb,
            postgres_cpu_seconds: servers.postgres,
            broker_cpu_seconds: servers.broker,
            missing: rows.saturating_sub(counted.events),
            duplicates: counted.records - counted.events,
        })
    }
}

/// Drains one database as often as is asked; each time by a relay that has never published. `what` is for people,
/// `cursors` for names.
pub(crate) async fn relay(
    ground: &Ground,
    what: &str,
    cursors: &str,
    url: &str,
    stream: &Stream,
    (rows, runs): (u64, usize),
) -> anyhow::Result<Drains> {
    let sources = [("bench".to_owned(), url.to_owned())];
    let mut drained = Vec::new();
    for run in 1..=runs {
        let watch = Watch::begin(ground, stream).await?;
        let mut relay = Program::relay(ground, &format!("{cursors}{run}"), &sources, free_port()?)?;
        let figures = watch.measure(ground, &mut relay, rows, 0.0).await?;
        relay.kill().await?;
        ground.say(&format!("{what} {run}: {}", figures.in_short()));
        drained.push(figures);
    }
    Ok(Drains::of(&drained))
}

/// Drains it for so long, uncounted: a broker that has just been started compiles itself on the processors that the drain
/// needs, and whoever came later would meet a faster one.
pub(crate) async fn warm(
    ground: &Ground,
    url: &str,
    stream: &Stream,
    rows: u64,
    time: Duration,
) -> anyhow::Result<()> {
    let (started, mut times) = (Instant::now(), 0);
    while started.elapsed() < time {
        let what = "warming, uncounted: drain";
        times += 1;
        let cursors = format!("warming{times}.");
        relay(ground, what, &cursors, url, stream, (rows, 1)).await?;
    }
    Ok(())
}
