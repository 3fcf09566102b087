//! The goals. What was not measured is not judged.

use super::drain::Drains;
use super::report::{Ours, Report};
use crate::goals::{Bound, Goal, goal};

/// Most memory of a consumer under load.
const MOST_MB: f64 = 40.0;
/// What counts as growth: more than what an allocator may keep from one moment to another.
const GROWTH_MB: f64 = 2.0;

/// Every goal that the report can tell about.
pub(crate) fn judge(report: &Report) -> Vec<Goal> {
    let mut goals = Vec::new();
    for (ours, at_least) in [(&report.single, 10_000.0), (&report.batch, 30_000.0)] {
        if let Some(ours) = ours {
            drains(ours, at_least, report.plain.as_ref(), &mut goals);
        }
    }
    if let Some([without, with]) = &report.steady {
        let share = with.p99_ms / without.p99_ms * 100.0;
        let name = format!(
            "p99 of other keys at {}/s, 1 % of keys failing",
            with.per_second
        );
        goals.push(goal(&name, Bound::AtMost(120.0), share, "% of normal"));
    }
    if let Some(soak) = &report.soak {
        let name = format!("memory at the end of {} s", soak.seconds);
        let grown = soak.late_rss_mb - soak.early_rss_mb;
        goals.push(goal(&name, Bound::AtMost(GROWTH_MB), grown, "MB more"));
    }
    let drains = report.ours().flat_map(|ours| [&ours.fresh, &ours.again]);
    let peaks = drains.map(|drains| drains.peak_rss_mb.max);
    let peaks = peaks.chain(report.soak.iter().map(|soak| soak.peak_rss_mb));
    if let Some(peak) = peaks.reduce(f64::max) {
        goals.push(goal("P4 most memory", Bound::AtMost(MOST_MB), peak, "MB"));
    }
    goals
}

fn drains(ours: &Ours, at_least: f64, plain: Option<&Drains>, goals: &mut Vec<Goal>) {
    let name = &ours.fresh.name;
    let rate = ours.fresh.records_per_second.median;
    let wanted = Bound::AtLeast(at_least);
    goals.push(goal(&format!("P4 {name}"), wanted, rate, "records/s"));
    if let Some(plain) = plain {
        let times = rate / plain.records_per_second.median;
        let name = format!("P4 {name}, against the loop by hand");
        goals.push(goal(&name, Bound::AtLeast(5.0), times, "x"));
    }
    let times = ours.again.records_per_second.median / rate;
    goals.push(goal(&ours.again.name, Bound::AtLeast(2.0), times, "x"));
    if let Some(failing) = &ours.failing {
        // Of the other 99 % of the keys.
        let share = failing.records_per_second.median * 0.99 / rate * 100.0;
        goals.push(goal(
            &failing.name,
            Bound::AtLeast(90.0),
            share,
            "% of normal",
        ));
    }
}
