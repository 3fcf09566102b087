//! The relay's bars: drain rate, events per processor second, latency.

use super::report::Report;
use crate::bars::{self, Bar, Chart};

/// The plot of a report; none when it has nothing to show.
pub(crate) fn svg(report: &Report) -> Option<String> {
    bars::svg(&charts(report))
}

fn charts(report: &Report) -> [Chart; 3] {
    let (mut rate, mut per_cpu, mut latency) = (Vec::new(), Vec::new(), Vec::new());
    let subjects = std::iter::once((&report.relay, true));
    for (subject, ours) in subjects.chain(report.peers.iter().map(|peer| (peer, false))) {
        let bar = |bars: &mut Vec<Bar>, what: &str, spread| {
            let name = format!("{}{what}", subject.name);
            bars.push(Bar { name, spread, ours });
        };
        for (what, drain) in [("", &subject.drain), (", warm", &subject.warm)] {
            if let Some(drain) = drain {
                bar(&mut rate, what, drain.rows_per_second);
                bar(&mut per_cpu, what, drain.rows_per_cpu_second);
            }
        }
        for at in &subject.latency {
            bar(
                &mut latency,
                &format!(", {}/s, p50", at.per_second),
                at.p50_ms,
            );
            bar(
                &mut latency,
                &format!(", {}/s, p99", at.per_second),
                at.p99_ms,
            );
        }
    }
    if let Some(ceilings) = &report.ceilings {
        for (name, spread) in [
            ("ceiling: COPY to nothing", ceilings.copy_rows_per_second),
            (
                "ceiling: librdkafka alone",
                ceilings.produce_rows_per_second,
            ),
        ] {
            let name = name.to_owned();
            rate.push(Bar {
                name,
                spread,
                ours: false,
            });
        }
    }
    [
        Chart {
            title: "drain, events a second",
            digits: 0,
            bars: rate,
        },
        Chart {
            title: "drain, events per CPU second of the process",
            digits: 0,
            bars: per_cpu,
        },
        Chart {
            title: "commit to consumable, ms (shorter is better)",
            digits: 1,
            bars: latency,
        },
    ]
}
