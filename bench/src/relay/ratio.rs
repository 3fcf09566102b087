//! The relay against each peer, as ratios: the only figures that another machine may repeat.

use super::drain::Drains;
use super::report::{Report, Subject};

/// One ratio, turned so that above 1 is in the relay's favour.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) name: String,
    pub(crate) value: f64,
}

impl Ratio {
    pub(crate) fn show(&self) -> String {
        if self.value.is_finite() {
            format!("{:.1} x", self.value)
        } else {
            // Nothing divided by nothing, or something by nothing.
            "-".to_owned()
        }
    }
}

/// Every figure that both the relay and a peer have.
pub(crate) fn all(report: &Report) -> Vec<Ratio> {
    report
        .peers
        .iter()
        .flat_map(|peer| of(&report.relay, peer))
        .collect()
}

fn of(relay: &Subject, peer: &Subject) -> Vec<Ratio> {
    let mut ratios = Vec::new();
    let mut more = |what: String, ours: f64, theirs: f64| {
        let name = format!("{}: {what}", peer.name);
        ratios.push(Ratio {
            name,
            value: ours / theirs,
        });
    };
    let mut drains = |when: &str, ours: &Drains, theirs: &Drains| {
        let figure = |drains: &Drains| {
            [
                drains.rows_per_second.median,
                drains.rows_per_cpu_second.median,
                // Less is better from here on.
                1.0 / drains.peak_rss_mb.median,
                1.0 / drains.first_after_seconds.median,
            ]
        };
        let names = [
            "events/s",
            "events per CPU s",
            "peak memory",
            "time to the first record",
        ];
        for ((name, ours), theirs) in names.iter().zip(figure(ours)).zip(figure(theirs)) {
            more(format!("{name}, {when}"), ours, theirs);
        }
    };
    if let Some(ours) = &relay.drain {
        for (when, theirs) in [("on a backlog", &peer.drain), ("warm", &peer.warm)] {
            if let Some(theirs) = theirs {
                drains(when, ours, theirs);
            }
        }
    }
    for (ours, theirs) in relay.latency.iter().zip(&peer.latency) {
        let rate = ours.per_second;
        more(
            format!("latency p50, {rate}/s"),
            theirs.p50_ms.median,
            ours.p50_ms.median,
        );
        more(
            format!("latency p99, {rate}/s"),
            theirs.p99_ms.median,
            ours.p99_ms.median,
        );
    }
    if let (Some(ours), Some(theirs)) = (&relay.idle, &peer.idle) {
        let what = format!(
            "idle, {} database(s) against {}",
            theirs.sources, ours.sources
        );
        more(what, theirs.program_percent, ours.program_percent);
    }
    if let (Some(ours), Some(theirs)) = (&relay.kill, &peer.kill) {
        let times = (
            theirs.resumed_after_seconds.median,
            ours.resumed_after_seconds.median,
        );
        more("back after kill -9".into(), times.0, times.1);
    }
    ratios
}

#[cfg(test)]
mod tests {
    use super::super::idle::Idle;
    use super::*;

    #[test]
    fn less_work_is_a_ratio_above_one() {
        let idle = |sources, program_percent| Idle {
            sources,
            program_percent,
            postgres_percent: None,
            broker_percent: None,
            peak_rss_mb: 1.0,
        };
        let mut relay = Subject::named("relay");
        relay.idle = Some(idle(4, 0.5));
        let mut peer = Subject::named("peer");
        assert_eq!(of(&relay, &peer), []);
        peer.idle = Some(idle(1, 15.0));
        let ratios = of(&relay, &peer);
        assert_eq!(ratios[0].name, "peer: idle, 1 database(s) against 4");
        assert_eq!(ratios[0].show(), "30.0 x");
        relay.idle = Some(idle(4, 0.0));
        assert_eq!(of(&relay, &peer)[0].show(), "-");
    }
}
