//! The report as a table.

use std::fmt::Write as _;

use super::report::Report;
use super::steady::Steady;
use crate::ground::PARTITIONS;
use crate::spread::{Spread, number};

/// The whole report.
pub(crate) fn show(report: &Report) -> String {
    let (plan, machine) = (&report.plan, &report.machine);
    let mut text = String::new();
    let mut line = |text_line: String| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{text_line}");
    };
    line(format!(
        "{} records, {PARTITIONS} partitions, {} run(s); {} processors, {:.0} GB, Linux {}, load before: {:.1}",
        number(plan.records as f64, 0),
        plan.runs,
        machine.processors,
        machine.memory_gb,
        machine.system,
        machine.load_before,
    ));
    for drains in report.drains() {
        line(format!(
            "\n{}, {} records",
            drains.name,
            number(drains.records as f64, 0)
        ));
        let perhaps = |spread: Option<Spread>| {
            spread.map_or_else(|| "not on this machine".to_owned(), |spread| spread.show(2))
        };
        for (what, value) in [
            ("records/s", drains.records_per_second.show(0)),
            (
                "records per CPU second of the process",
                drains.records_per_cpu_second.show(0),
            ),
            ("CPU s of PostgreSQL", perhaps(drains.postgres_cpu_seconds)),
            ("CPU s of the broker", perhaps(drains.broker_cpu_seconds)),
            ("peak RSS, MB", drains.peak_rss_mb.show(1)),
        ] {
            line(format!("  {what:<42}{value:>34}"));
        }
    }
    if let Some([without, with]) = &report.steady {
        line("\nsteady stream".to_owned());
        line(stream("all keys well", without));
        line(stream("1 % of the keys failing, the others", with));
    }
    if let Some(soak) = &report.soak {
        line("\nmemory under a steady stream".to_owned());
        line(stream("single", soak));
        line(format!(
            "  resident after a fifth of the time {:.1} MB, at the end {:.1} MB, at most {:.1} MB",
            soak.early_rss_mb, soak.late_rss_mb, soak.peak_rss_mb
        ));
    }
    if !report.goals.is_empty() {
        line(format!(
            "\n{:<62}{:>20}{:>20}",
            "goal", "wanted", "measured"
        ));
    }
    for goal in &report.goals {
        let met = if goal.met { "met" } else { "MISSED" };
        line(format!(
            "{:<62}{:>20}{:>20}  {met}",
            goal.name, goal.wanted, goal.measured
        ));
    }
    text
}

fn stream(what: &str, steady: &Steady) -> String {
    format!(
        "  {what:<42}{}/s for {} s: p50 {:.1} ms, p99 {:.1} ms, max {:.0} ms",
        number(steady.per_second as f64, 0),
        steady.seconds,
        steady.p50_ms,
        steady.p99_ms,
        steady.max_ms
    )
}
