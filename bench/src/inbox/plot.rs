//! The consumer's bars: records a second, and per processor second.

use super::drain::Drains;
use super::report::Report;
use crate::bars::{self, Bar, Chart};
use crate::spread::Spread;

/// The plot of a report; none when it has nothing to show.
pub(crate) fn svg(report: &Report) -> Option<String> {
    let of = |figure: fn(&Drains) -> Spread| {
        let bar = |drains: &Drains| Bar {
            name: drains.name.clone(),
            spread: figure(drains),
            ours: drains.name != super::PLAIN,
        };
        report.drains().map(bar).collect()
    };
    bars::svg(&[
        Chart {
            title: "records a second",
            digits: 0,
            bars: of(|drains| drains.records_per_second),
        },
        Chart {
            title: "records per CPU second of the process",
            digits: 0,
            bars: of(|drains| drains.records_per_cpu_second),
        },
    ])
}
