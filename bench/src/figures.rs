//! Percentiles of durations.

use std::time::Duration;

use serde::Serialize;

/// Milliseconds at the usual places of a distribution.
#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

impl Latency {
    /// Of at least one duration.
    pub(crate) fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort();
        let at = |share: usize| {
            let index = (durations.len() * share / 100).min(durations.len().saturating_sub(1));
            durations.get(index).map_or(f64::NAN, |duration| {
                (duration.as_secs_f64() * 100_000.0).round() / 100.0
            })
        };
        Self {
            p50_ms: at(50),
            p95_ms: at(95),
            p99_ms: at(99),
            max_ms: at(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_places_in_the_sorted_list() {
        let latency = Latency::of((1..=100).rev().map(Duration::from_millis).collect());
        assert_eq!(
            (latency.p50_ms, latency.p99_ms, latency.max_ms),
            (51.0, 100.0, 100.0)
        );
    }
}
