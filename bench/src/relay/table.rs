//! The report for people.

use std::fmt::Write as _;

use super::drain::Drains;
use super::fill::{KEYS, PAYLOAD_BYTES};
use super::latency::AtRate;
use super::ratio;
use super::report::{Report, Subject};
use crate::ground::PARTITIONS;
use crate::spread::{Spread, number};

/// All tables as text.
pub(crate) fn show(report: &Report) -> String {
    let mut text = String::new();
    let (machine, plan) = (&report.machine, &report.plan);
    line(
        &mut text,
        &format!(
            "{} rows of {PAYLOAD_BYTES} bytes over {KEYS} keys, {PARTITIONS} partitions, {} run(s): median (smallest..largest)\n\
         {} processors, {:.0} GB, Linux {}, load before: {:.1}",
            number(plan.rows as f64, 0),
            plan.runs,
            machine.processors,
            machine.memory_gb,
            machine.system,
            machine.load_before,
        ),
    );
    drains(&mut text, report);
    latencies(&mut text, report);
    rest(&mut text, report);
    if !report.peers.is_empty() {
        line(
            &mut text,
            "\nratios, ours : theirs (above 1 is in our favour)",
        );
        for ratio in ratio::all(report) {
            line(
                &mut text,
                &format!("{:<66}{:>10}", ratio.name, ratio.show()),
            );
        }
    }
    if !report.goals.is_empty() {
        line(
            &mut text,
            &format!("\n{:<58}{:>20}{:>20}", "goal", "wanted", "measured"),
        );
    }
    for goal in &report.goals {
        let met = if goal.met { "met" } else { "MISSED" };
        line(
            &mut text,
            &format!(
                "{:<58}{:>20}{:>20}  {met}",
                goal.name, goal.wanted, goal.measured
            ),
        );
    }
    text
}

fn drains(text: &mut String, report: &Report) {
    let mut rows: Vec<(String, &Drains)> = Vec::new();
    for subject in subjects(report) {
        let name = &subject.name;
        rows.extend(subject.drain.iter().map(|drain| (name.clone(), drain)));
        rows.extend(
            subject
                .warm
                .iter()
                .map(|drain| (format!("{name}, warm"), drain)),
        );
    }
    rows.extend(
        report
            .open_transaction
            .iter()
            .map(|drain| ("relay, open transaction".to_owned(), drain)),
    );
    if !rows.is_empty() {
        line(text, "\ndrain");
    }
    for (name, drain) in rows {
        line(text, &format!("  {name}"));
        let mut figure =
            |what: &str, value: String| line(text, &format!("    {what:<40}{value:>34}"));
        figure("rows/s, first to last", drain.rows_per_second.show(0));
        figure(
            "rows per CPU second of the process",
            drain.rows_per_cpu_second.show(0),
        );
        figure("CPU s of the process", drain.cpu_seconds.show(2));
        figure(
            "CPU s of PostgreSQL",
            perhaps(drain.postgres_cpu_seconds, 2),
        );
        figure("CPU s of the broker", perhaps(drain.broker_cpu_seconds, 2));
        figure("peak RSS, MB", drain.peak_rss_mb.show(1));
        figure("first record after, s", drain.first_after_seconds.show(2));
        figure("last record after, s", drain.last_after_seconds.show(2));
        figure(
            "missing / twice",
            format!("{} / {}", drain.missing, drain.duplicates),
        );
    }
    if let Some(ceilings) = &report.ceilings {
        line(text, "\nceilings");
        line(
            text,
            &format!(
                "  {:<42}{:>34}",
                "COPY to nothing, rows/s",
                ceilings.copy_rows_per_second.show(0)
            ),
        );
        let what = format!(
            "librdkafka alone, {} a transaction, rows/s",
            ceilings.rows_per_transaction
        );
        line(
            text,
            &format!(
                "  {what:<42}{:>34}",
                ceilings.produce_rows_per_second.show(0)
            ),
        );
        let what = "librdkafka alone, rows per CPU second";
        line(
            text,
            &format!(
                "  {what:<42}{:>34}",
                ceilings.produce_rows_per_cpu_second.show(0)
            ),
        );
    }
    if let Some(waiting) = &report.waiting {
        line(
            text,
            &format!(
                "\n{} rows waiting: {} rows/s, {} rows per CPU second, peak RSS {} MB",
                number(waiting.rows as f64, 0),
                number(waiting.rows_per_second, 0),
                number(waiting.rows_per_cpu_second, 0),
                number(waiting.peak_rss_mb, 1)
            ),
        );
    }
}

fn latencies(text: &mut String, report: &Report) {
    let mut rows: Vec<(&str, &AtRate)> = Vec::new();
    for subject in subjects(report) {
        rows.extend(
            subject
                .latency
                .iter()
                .map(|rate| (subject.name.as_str(), rate)),
        );
    }
    if rows.is_empty() {
        return;
    }
    line(
        text,
        &format!(
            "\ncommit to consumable, ms{:>30}{:>26}{:>26}{:>26}{:>20}",
            "p50", "p95", "p99", "max", "commits begun late"
        ),
    );
    for (name, rate) in rows {
        let name = format!("{name}, {}/s", rate.per_second);
        line(
            text,
            &format!(
                "  {name:<32}{:>20}{:>26}{:>26}{:>26}{:>20}",
                short(rate.p50_ms),
                short(rate.p95_ms),
                short(rate.p99_ms),
                short(rate.max_ms),
                // The latest of all: how far the writer fell behind its own times.
                number(rate.latest_begin_ms.max, 1)
            ),
        );
    }
}

fn rest(text: &mut String, report: &Report) {
    for subject in subjects(report) {
        if let Some(idle) = &subject.idle {
            let servers =
                |percent: Option<f64>| percent.map_or("?".to_owned(), |percent| number(percent, 2));
            line(
                text,
                &format!(
                    "\n{}, idle with {} database(s): {} % of a core; PostgreSQL {} %, broker {} %",
                    subject.name,
                    idle.sources,
                    number(idle.program_percent, 2),
                    servers(idle.postgres_percent),
                    servers(idle.broker_percent)
                ),
            );
        }
        if let Some(kill) = &subject.kill {
            line(
                text,
                &format!(
                    "\n{}, kill -9 in the middle: goes on after {} s; {} missing, {} twice",
                    subject.name,
                    kill.resumed_after_seconds.show(2),
                    kill.missing,
                    kill.duplicates
                ),
            );
        }
    }
}

fn subjects(report: &Report) -> impl Iterator<Item = &Subject> {
    std::iter::once(&report.relay).chain(&report.peers)
}

fn perhaps(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(
        || "not on this machine".to_owned(),
        |spread| spread.show(digits),
    )
}

fn short(spread: Spread) -> String {
    spread.show(1)
}

fn line(text: &mut String, line: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{line}");
}
