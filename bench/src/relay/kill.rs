//! kill -9 in the middle of a drain: how soon the next process publishes, and whether an event is lost or doubled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::Serialize;

use super::fill::Stream;
use super::topic::{Ends, Mark, Reader, blocking, census};
use crate::ground::Ground;
use crate::program::{Program, free_port};
use crate::spread::Spread;

const PATIENCE: Duration = Duration::from_secs(1800);
/// The share of rows that are out when it is killed.
const MIDDLE: f64 = 0.3;
/// The broker has finished with what the dead process sent when nothing new was consumable for so long.
const QUIET: Duration = Duration::from_millis(300);

/// One kill.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Killed {
    /// Offsets that were consumable when it was killed.
    pub(crate) out_before: u64,
    /// From the start of the next process to its first consumable record.
    pub(crate) resumed_after_seconds: f64,
    pub(crate) missing: u64,
    pub(crate) duplicates: u64,
}

/// Several kills.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Kills {
    pub(crate) resumed_after_seconds: Spread,
    pub(crate) out_before: Spread,
    pub(crate) missing: u64,
    pub(crate) duplicates: u64,
}

impl Kills {
    pub(crate) fn of(kills: &[Killed]) -> Self {
        Self {
            resumed_after_seconds: Spread::of(kills.iter().map(|kill| kill.resumed_after_seconds)),
            out_before: Spread::of(kills.iter().map(|kill| kill.out_before as f64)),
            missing: kills.iter().map(|kill| kill.missing).sum(),
            duplicates: kills.iter().map(|kill| kill.duplicates).sum(),
        }
    }
}

/// The relay, each time from the beginning of the same rows.
pub(crate) async fn relay(
    ground: &Ground,
    url: &str,
    stream: &Stream,
    rows: u64,
    runs: usize,
) -> anyhow::Result<Kills> {
    let mut kills = Vec::new();
    for run in 1..=runs {
        let sources = [("bench".to_owned(), url.to_owned())];
        let cursors = format!("kill{run}");
        let start = || Program::relay(ground, &cursors, &sources, free_port()?);
        let kill = once(ground, stream, rows, start).await?;
        ground.say(&format!(
            "kill {run}: goes on after {:.2} s, {} missing, {} twice",
            kill.resumed_after_seconds, kill.missing, kill.duplicates
        ));
        kills.push(kill);
    }
    Ok(Kills::of(&kills))
}

/// Starts, kills, starts again and waits for the end.
pub(crate) async fn once(
    ground: &Ground,
    stream: &Stream,
    rows: u64,
    start: impl Fn() -> anyhow::Result<Program>,
) -> anyhow::Result<Killed> {
    let (kafka, topics) = (ground.kafka.clone(), stream.clone());
    let (ends, before, end) = blocking(move || {
        let ends = Ends::of(&kafka, &topics.topic)?;
        let before = ends.now()?;
        Ok((Arc::new(ends), before, Mark::now(&kafka, &topics.end)?))
    })
    .await?;
    let mut program = start()?;
    let middle = (rows as f64 * MIDDLE) as u64;
    program.during(grown(&ends, &before, middle)).await?;
    program.kill().await?;
    let at_kill = settled(&ends).await?;
    ensure!(
        at_kill.since(&before) < rows,
        "all {rows} rows were out when it was killed: more rows are needed for that"
    );

    let (kafka, topics, from) = (ground.kafka.clone(), stream.clone(), at_kill.clone());
    let (next, last) = blocking(move || {
        let next = Reader::at(&kafka, &topics.topic, &from)?;
        Ok((next, Reader::at(&kafka, &topics.end, &end)?))
    })
    .await?;
    let next = tokio::task::spawn_blocking(move || next.first(PATIENCE));
    let last = tokio::task::spawn_blocking(move || last.first(PATIENCE));
    let restarted = Instant::now();
    let mut program = start()?;
    let resumed = program.during(async { next.await? }).await?.at;
    program.during(async { last.await? }).await?;
    let (kafka, topic, from) = (ground.kafka.clone(), stream.topic.clone(), before.clone());
    let counted = program
        .during(blocking(move || census(&kafka, &topic, &from, rows)))
        .await?;
    program.terminate().await?;
    Ok(Killed {
        out_before: at_kill.since(&before),
        resumed_after_seconds: resumed.duration_since(restarted).as_secs_f64(),
        missing: rows.saturating_sub(counted.events),
        duplicates: counted.records - counted.events,
    })
}

/// Waits until so much of the topic is consumable.
async fn grown(ends: &Arc<Ends>, before: &Mark, by: u64) -> anyhow::Result<()> {
    while now(ends).await?.since(before) < by {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// The end of a topic once it does not move any more.
async fn settled(ends: &Arc<Ends>) -> anyhow::Result<Mark> {
    let (mut end, mut since) = (now(ends).await?, Instant::now());
    while since.elapsed() < QUIET {
        let look = now(ends).await?;
        if look != end {
            (end, since) = (look, Instant::now());
        }
    }
    Ok(end)
}

async fn now(ends: &Arc<Ends>) -> anyhow::Result<Mark> {
    let ends = Arc::clone(ends);
    blocking(move || ends.now()).await
}
