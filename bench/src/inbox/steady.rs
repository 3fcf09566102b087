//! A steady stream of records: how late they come to their effect, and what memory does meanwhile.

use std::time::Duration;

use serde::Serialize;

use super::event;
use super::field::Field;
use super::subject::Kind;
use crate::ground::Ground;
use crate::program::Program;

/// Between looks at the memory.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// One stream, consumed to its end.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Steady {
    pub(crate) per_second: u64,
    pub(crate) seconds: u64,
    /// From sending to the handler's last statement; without keys that fail.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    /// Resident after a fifth of the time, and at its end: means of the tenth of the time around.
    pub(crate) early_rss_mb: f64,
    pub(crate) late_rss_mb: f64,
    pub(crate) peak_rss_mb: f64,
}

/// Streams for so many seconds; for `fail_seconds` of them 1 % of the keys fail. Fails unless each event takes effect once.
pub(crate) async fn steady(
    ground: &Ground,
    label: &str,
    rate: u64,
    seconds: u64,
    fail_seconds: u64,
) -> anyhow::Result<Steady> {
    let field = Field::new(ground, label).await?;
    let site = field.site(label).await?;
    let mut running = field.start(Kind::Single, &site, label, fail_seconds)?;
    let (sent, memory) = {
        let streaming = field.load.steady(rate, Duration::from_secs(seconds));
        let mut memory = Vec::new();
        let watched = watch(&running.program, &mut memory);
        let sent = tokio::select! {
            sent = streaming => sent?,
            failed = watched => return Err(failed),
        };
        (sent, memory)
    };
    running.effects(&site, sent).await?;
    let peak_rss_mb = running.program.peak_rss_mb()?;
    let latencies = running.end().await?;
    event::assert_once(&site.pool, sent, label).await?;
    let (early, late) = early_and_late(&memory);
    let steady = Steady {
        per_second: rate,
        seconds,
        p50_ms: latencies.at_ms(0.5),
        p99_ms: latencies.at_ms(0.99),
        max_ms: latencies.at_ms(1.0),
        early_rss_mb: early,
        late_rss_mb: late,
        peak_rss_mb,
    };
    ground.say(&format!(
        "{label}: p50 {:.1} ms, p99 {:.1} ms, {early:.1} MB, later {late:.1} MB",
        steady.p50_ms, steady.p99_ms
    ));
    Ok(steady)
}

async fn watch(program: &Program, memory: &mut Vec<f64>) -> anyhow::Error {
    loop {
        match program.rss_mb() {
            Ok(now) => memory.push(now),
            Err(error) => return error,
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Means around a fifth of the time and at its end.
fn early_and_late(memory: &[f64]) -> (f64, f64) {
    let tenth = (memory.len() / 10).max(1);
    let mean = |from: usize| {
        let part: Vec<f64> = memory.iter().skip(from).take(tenth).copied().collect();
        part.iter().sum::<f64>() / part.len() as f64
    };
    (mean(tenth * 2), mean(memory.len().saturating_sub(tenth)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_compared_after_a_fifth_and_at_the_end() {
        let memory: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!(early_and_late(&memory), (24.5, 94.5));
    }
}
