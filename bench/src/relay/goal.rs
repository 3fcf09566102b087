//! The goals, each beside what was measured. What was not measured is not judged.

use super::drain::Drains;
use super::report::{Report, Subject};
use crate::goals::{Bound, Goal, goal};
use crate::spread::number;

/// Every goal that the report can tell about.
pub(crate) fn judge(report: &Report) -> Vec<Goal> {
    let mut goals = Vec::new();
    if let Some(peer) = report
        .peers
        .iter()
        .find(|peer| peer.name.contains("exactly"))
    {
        against(&report.relay, peer, &mut goals);
    }
    let drain = report.relay.drain.as_ref();
    if let (Some(drain), Some(ceilings)) = (drain, &report.ceilings) {
        let share = drain.rows_per_second.median / ceilings.lower() * 100.0;
        let name = "P2 drain against the lower ceiling";
        goals.push(goal(name, Bound::AtLeast(70.0), share, "%"));
    }
    for rate in &report.relay.latency {
        for (place, bound, figure) in [("p50", 5.0, rate.p50_ms), ("p99", 15.0, rate.p99_ms)] {
            let name = format!("P3 commit to consumable, {}/s, {place}", rate.per_second);
            goals.push(goal(&name, Bound::AtMost(bound), figure.median, "ms"));
        }
    }
    if let (Some(drain), Some(open)) = (drain, &report.open_transaction) {
        let rate = [open.rows_per_second.median, drain.rows_per_second.median];
        let memory = [open.peak_rss_mb.median, drain.peak_rss_mb.median];
        unchanged("with an open transaction", rate, memory, &mut goals);
    }
    if let (Some(drain), Some(waiting)) = (drain, &report.waiting) {
        let what = format!("with {} rows waiting", number(waiting.rows as f64, 0));
        let rate = [waiting.rows_per_second, drain.rows_per_second.median];
        let memory = [waiting.peak_rss_mb, drain.peak_rss_mb.median];
        unchanged(&what, rate, memory, &mut goals);
    }
    if let Some(drain) = drain {
        let name = "P8 most memory of a drain";
        goals.push(goal(name, Bound::AtMost(40.0), drain.peak_rss_mb.max, "MB"));
        let wrong = (drain.missing + drain.duplicates) as f64;
        let name = "drain: events missing or twice";
        goals.push(goal(name, Bound::AtMost(0.0), wrong, ""));
    }
    if let Some(idle) = &report.relay.idle {
        let name = format!("idle with {} databases", idle.sources);
        let percent = idle.program_percent;
        goals.push(goal(&name, Bound::AtMost(0.5), percent, "% of a core"));
    }
    if let Some(kill) = &report.relay.kill {
        let after = kill.resumed_after_seconds.median;
        goals.push(goal(
            "kill -9: goes on after",
            Bound::AtMost(2.0),
            after,
            "s",
        ));
        let wrong = (kill.missing + kill.duplicates) as f64;
        let name = "kill -9: events missing or twice";
        goals.push(goal(name, Bound::AtMost(0.0), wrong, ""));
    }
    goals
}

/// P1: against a peer that is as exact.
fn against(relay: &Subject, peer: &Subject, goals: &mut Vec<Goal>) {
    let Some(ours) = &relay.drain else { return };
    let mut compare = |what: &str, theirs: &Drains, per_cpu: f64, wall: f64| {
        let cpu = ours.rows_per_cpu_second.median / theirs.rows_per_cpu_second.median;
        let name = format!("P1 events per CPU second, peer {what}");
        goals.push(goal(&name, Bound::AtLeast(per_cpu), cpu, "x"));
        let rate = ours.rows_per_second.median / theirs.rows_per_second.median;
        let name = format!("P1 events per second, peer {what}");
        goals.push(goal(&name, Bound::AtLeast(wall), rate, "x"));
    };
    if let Some(theirs) = &peer.drain {
        compare("started on a backlog", theirs, 10.0, 4.0);
    }
    if let Some(theirs) = &peer.warm {
        compare("warmed up", theirs, 5.0, 2.0);
    }
    let theirs = [&peer.drain, &peer.warm].into_iter().flatten();
    let peak = theirs
        .map(|drains| drains.peak_rss_mb.median)
        .fold(f64::NAN, f64::max);
    if peak.is_finite() {
        let share = peak / ours.peak_rss_mb.median;
        let name = "P1 peak memory, peer's to ours";
        goals.push(goal(name, Bound::AtLeast(25.0), share, "x"));
    }
}

/// P7: rate and memory, [burdened, normal].
fn unchanged(what: &str, rate: [f64; 2], memory: [f64; 2], goals: &mut Vec<Goal>) {
    let share = |[burdened, normal]: [f64; 2]| burdened / normal * 100.0;
    let name = format!("P7 rate {what}");
    goals.push(goal(
        &name,
        Bound::AtLeast(90.0),
        share(rate),
        "% of normal",
    ));
    let name = format!("P7 memory {what}");
    goals.push(goal(
        &name,
        Bound::AtMost(110.0),
        share(memory),
        "% of normal",
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burden_is_compared_with_the_normal_run() {
        let mut goals = Vec::new();
        unchanged("x", [95.0, 100.0], [30.0, 25.0], &mut goals);
        let met: Vec<_> = goals.iter().map(|goal| goal.met).collect();
        assert_eq!(met, [true, false], "{goals:?}");
    }
}
