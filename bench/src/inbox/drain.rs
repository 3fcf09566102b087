//! Consuming a backlog, and the same records once more.

use serde::Serialize;

use super::event;
use super::field::{Field, Site};
use super::subject::Kind;
use crate::spread::Spread;

/// One drain.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Drained {
    pub(crate) records: u64,
    /// From the first commit of offsets to the last.
    pub(crate) records_per_second: f64,
    /// Of the program, from its start on.
    pub(crate) records_per_cpu_second: f64,
    pub(crate) peak_rss_mb: f64,
    pub(crate) postgres_cpu_seconds: Option<f64>,
    pub(crate) broker_cpu_seconds: Option<f64>,
}

/// Several drains.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Drains {
    pub(crate) name: String,
    pub(crate) records: u64,
    pub(crate) records_per_second: Spread,
    pub(crate) records_per_cpu_second: Spread,
    pub(crate) peak_rss_mb: Spread,
    pub(crate) postgres_cpu_seconds: Option<Spread>,
    pub(crate) broker_cpu_seconds: Option<Spread>,
}

impl Drains {
    /// Of at least one.
    pub(crate) fn of(name: &str, runs: &[Drained]) -> Self {
        let spread = |figure: fn(&Drained) -> f64| Spread::of(runs.iter().map(figure));
        let perhaps = |figure: fn(&Drained) -> Option<f64>| {
            let figures: Option<Vec<_>> = runs.iter().map(figure).collect();
            figures.map(Spread::of)
        };
        Self {
            name: name.to_owned(),
            records: runs.first().map_or(0, |run| run.records),
            records_per_second: spread(|run| run.records_per_second),
            records_per_cpu_second: spread(|run| run.records_per_cpu_second),
            peak_rss_mb: spread(|run| run.peak_rss_mb),
            postgres_cpu_seconds: perhaps(|run| run.postgres_cpu_seconds),
            broker_cpu_seconds: perhaps(|run| run.broker_cpu_seconds),
        }
    }
}

/// What a drain is of.
pub(crate) struct Drain<'a> {
    pub(crate) kind: Kind,
    pub(crate) records: u64,
    pub(crate) fail_seconds: u64,
    /// Tells it from others of this run.
    pub(crate) label: &'a str,
}

/// Consumes the field's records from the beginning, and fails unless afterwards each has taken effect once, however
/// often they were consumed into that site.
pub(crate) async fn drain(
    field: &Field<'_>,
    site: &Site,
    drain: &Drain<'_>,
) -> anyhow::Result<Drained> {
    let Drain { kind, records, .. } = *drain;
    let before = field.ground.servers();
    let mut running = field.start(kind, site, drain.label, drain.fail_seconds)?;
    let progress = running.finish(field, records).await?;
    let cpu = running.program.cpu_seconds()?;
    let servers = field.ground.servers().since(before);
    let peak_rss_mb = running.program.peak_rss_mb()?;
    running.effects(site, records).await?;
    running.end().await?;
    event::assert_once(&site.pool, records, drain.label).await?;
    let drained = Drained {
        records,
        records_per_second: progress.per_second(records),
        records_per_cpu_second: records as f64 / cpu,
        peak_rss_mb,
        postgres_cpu_seconds: servers.postgres,
        broker_cpu_seconds: servers.broker,
    };
    field.ground.say(&format!(
        "{}: {:.0} records/s, {:.0} per CPU second, {:.1} MB",
        drain.label, drained.records_per_second, drained.records_per_cpu_second, peak_rss_mb
    ));
    Ok(drained)
}
