//! From commit to consumable: single rows committed at a steady rate, and a read_committed reader who waits for them.
//!
//! An open loop: each commit has its time by the clock and is made then, however long the ones before take, so that a
//! stall is met by as many events as it would meet in earnest.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::Serialize;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::fill::KEYS;
use super::options::Plan;
use super::topic::{Mark, Reader, blocking};
use crate::figures::Latency;
use crate::ground::Ground;
use crate::program::Program;
use crate::spread::Spread;

/// Rates that are measured, a second.
pub(crate) const RATES: [u64; 2] = [200, 1000];
/// Not counted, at the beginning.
const WARM_UP: Duration = Duration::from_secs(2);
/// Connections that take turns, so that one slow commit does not keep the next from its time.
const WRITERS: u64 = 16;
/// Events that have not come so long after the last commit never will.
const PATIENCE: Duration = Duration::from_secs(30);

/// Inserts one row and commits it. $1 id, $2 topic, $3 key.
const INTO_OUTBOX: &str = "
    insert into oncebox.outbox (event_id, topic, key, payload, headers)
    values ($1::uuid, $2::text, convert_to($3::text, 'utf8'),
        convert_to(repeat(md5($1::uuid::text), 12) || left(md5($3::text), 16), 'utf8'),
        jsonb_build_object('ce_specversion', '1.0', 'ce_id', $1::uuid::text, 'ce_type', 'oncebox.order.OrderPlaced',
            'ce_source', '/oncebox/order', 'ce_time', '2026-01-01T00:00:00.000000Z', 'content-type', 'application/avro',
            'id', $1::uuid::text))";

/// One rate.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AtRate {
    pub(crate) per_second: u64,
    pub(crate) p50_ms: Spread,
    pub(crate) p95_ms: Spread,
    pub(crate) p99_ms: Spread,
    pub(crate) max_ms: Spread,
    /// Commits that were made a second, and how late the latest began: whether the writer kept its own times.
    pub(crate) committed_per_second: Spread,
    pub(crate) latest_begin_ms: Spread,
}

/// One measurement at one rate.
pub(crate) struct Measured {
    latency: Latency,
    committed_per_second: f64,
    latest_begin_ms: f64,
}

/// Where and how rows are written and read.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    pub(crate) url: String,
    pub(crate) insert: &'static str,
    pub(crate) topic: String,
}

/// The relay, at each rate.
pub(crate) async fn relay(ground: &Ground, plan: &Plan) -> anyhow::Result<Vec<AtRate>> {
    let (url, pool) = ground.database("latency").await?;
    pool.close().await;
    let path = Path {
        topic: ground.topic("latency").await?,
        url,
        insert: INTO_OUTBOX,
    };
    let port = crate::program::free_port()?;
    let sources = [("bench".to_owned(), path.url.clone())];
    let mut relay = Program::relay(ground, "latency", &sources, port)?;
    relay.during(super::idle::ready(port)).await?;
    let measured = all_rates(ground, "relay", &path, &mut relay, plan).await?;
    relay.kill().await?;
    Ok(measured)
}

/// Each rate, as often as is asked.
pub(crate) async fn all_rates(
    ground: &Ground,
    label: &str,
    path: &Path,
    program: &mut Program,
    plan: &Plan,
) -> anyhow::Result<Vec<AtRate>> {
    // Says that it runs before it has caught up; and a broker and a worker that are not compiled yet are busy with that, on
    // the same processors. Neither is what they do in the long run.
    let warming = Duration::from_secs(plan.warming_seconds);
    program
        .during(once(ground, path, RATES[1], warming))
        .await?;
    let lasts = Duration::from_secs(plan.latency_seconds);
    let mut rates = Vec::new();
    for per_second in RATES {
        let mut measured = Vec::new();
        for run in 1..=plan.runs {
            let once = once(ground, path, per_second, lasts);
            let once = program.during(once).await?;
            ground.say(&format!(
                "{label}, {per_second}/s, {run}: p50 {} ms, p99 {} ms, max {} ms",
                once.latency.p50_ms, once.latency.p99_ms, once.latency.max_ms
            ));
            measured.push(once);
        }
        rates.push(AtRate::of(per_second, &measured));
    }
    Ok(rates)
}

impl AtRate {
    fn of(per_second: u64, runs: &[Measured]) -> Self {
        let spread = |figure: fn(&Measured) -> f64| Spread::of(runs.iter().map(figure));
        Self {
            per_second,
            p50_ms: spread(|run| run.latency.p50_ms),
            p95_ms: spread(|run| run.latency.p95_ms),
            p99_ms: spread(|run| run.latency.p99_ms),
            max_ms: spread(|run| run.latency.max_ms),
            committed_per_second: spread(|run| run.committed_per_second),
            latest_begin_ms: spread(|run| run.latest_begin_ms),
        }
    }
}

async fn once(
    ground: &Ground,
    path: &Path,
    per_second: u64,
    lasts: Duration,
) -> anyhow::Result<Measured> {
    let ticks = per_second * (lasts + WARM_UP).as_secs();
    let (kafka, topic) = (ground.kafka.clone(), path.topic.clone());
    let reader = blocking(move || Reader::at(&kafka, &topic, &Mark::now(&kafka, &topic)?)).await?;
    let ended = Arc::new(AtomicBool::new(false));
    let reading = {
        let ended = Arc::clone(&ended);
        tokio::task::spawn_blocking(move || read(&reader, ticks, &ended))
    };
    // Tells the reader to stop also when the writers fail.
    let _told = SetOnDrop(ended);
    let mut connections = Vec::new();
    for _ in 0..WRITERS {
        connections.push(PgConnection::connect(&path.url).await?);
    }
    let begin = Instant::now() + Duration::from_millis(100);
    let mut writers = tokio::task::JoinSet::new();
    for (writer, connection) in (0..).zip(connections) {
        let path = path.clone();
        writers.spawn(write(connection, path, writer, ticks, per_second, begin));
    }
    let (mut committed, mut latest_begin) = (HashMap::new(), Duration::ZERO);
    while let Some(written) = writers.join_next().await {
        let (times, latest) = written??;
        committed.extend(times);
        latest_begin = latest_begin.max(latest);
    }
    let took = begin.elapsed().as_secs_f64();
    let seen = reading.await??;
    let counted_from = begin + WARM_UP;
    let latencies: Vec<_> = committed
        .iter()
        .filter(|(_, at)| **at >= counted_from)
        .filter_map(|(id, at)| Some(seen.get(id)?.saturating_duration_since(*at)))
        .collect();
    ensure!(
        seen.len() == committed.len(),
        "{} of {} events came within {} s",
        seen.len(),
        committed.len(),
        PATIENCE.as_secs()
    );
    Ok(Measured {
        latency: Latency::of(latencies),
        committed_per_second: ticks as f64 / took,
        latest_begin_ms: latest_begin.as_secs_f64() * 1000.0,
    })
}

/// One writer's share of the ticks. Returns when each commit had returned, and how late the latest was begun.
async fn write(
    mut connection: PgConnection,
    path: Path,
    writer: u64,
    ticks: u64,
    per_second: u64,
    begin: Instant,
) -> anyhow::Result<(Vec<(Uuid, Instant)>, Duration)> {
    let (mut committed, mut latest) = (Vec::new(), Duration::ZERO);
    for tick in (writer..ticks).step_by(WRITERS as usize) {
        let at = begin + Duration::from_nanos(tick * 1_000_000_000 / per_second);
        tokio::time::sleep_until(at.into()).await;
        latest = latest.max(at.elapsed());
        let id = Uuid::now_v7();
        sqlx::query(path.insert)
            .bind(id)
            .bind(&path.topic)
            .bind(format!("order-{}", tick % KEYS))
            .execute(&mut connection)
            .await?;
        committed.push((id, Instant::now()));
    }
    Ok((committed, latest))
}

/// When each event came, until all have, or none has for long.
fn read(
    reader: &Reader,
    wanted: u64,
    ended: &AtomicBool,
) -> anyhow::Result<HashMap<Uuid, Instant>> {
    let (mut seen, mut last) = (HashMap::new(), Instant::now());
    reader.each(|event| {
        if let Some((id, at)) = event {
            seen.entry(id).or_insert(at);
            last = at;
        }
        let complete = seen.len() as u64 >= wanted;
        !complete && last.elapsed() < PATIENCE && !ended.load(Ordering::Relaxed)
    })?;
    Ok(seen)
}

struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
