//! The consumer: how quickly it works a backlog off with durable deduplication, what duplicates and failing keys cost,
//! and how it stands against a loop as a team writes it by hand.

mod drain;
mod event;
mod field;
mod goal;
mod handlers;
mod histogram;
mod load;
mod offsets;
mod options;
mod plain;
mod plot;
mod report;
mod steady;
mod subject;
mod table;

pub(crate) use options::Options;
pub(crate) use subject::Subject;

use crate::ground::Ground;
use drain::{Drain, Drained, Drains, drain};
use field::Field;
use options::{Part, Plan};
use report::{Ours, Report};
use steady::steady;
use subject::Kind;

/// Name of the peer.
const PLAIN: &str = "loop by hand, a transaction a record";

/// Measures, keeps the report and prints it.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let ground = Ground::from_env()?;
    let mut report = Report::new(options.plan());
    let measured = tokio::select! {
        measured = measure(&ground, &mut report) => measured,
        told = crate::program::told_to_end() => told,
    };
    let cleaned = ground.clean().await;
    measured?;
    cleaned?;
    report.judge();
    print(&report, options.json)
}

async fn measure(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    let plan = report.plan.clone();
    if [Part::Single, Part::Batch]
        .iter()
        .any(|part| plan.has(*part))
    {
        let field = filled(ground, "moves", plan.records).await?;
        let (mut single, mut batch) = (Vec::new(), Vec::new());
        // In turn, so that what changes on the machine meanwhile touches both.
        for run in 0..plan.runs {
            if plan.has(Part::Single) {
                single.push(ours(&field, &plan, Kind::Single, run).await?);
            }
            if plan.has(Part::Batch) {
                batch.push(ours(&field, &plan, Kind::Batch, run).await?);
            }
        }
        report.single = summed("single-record handler", &single);
        report.batch = summed("batch handler", &batch);
    }
    if plan.has(Part::Plain) {
        let field = filled(ground, "plain", plan.plain_records).await?;
        let mut runs = Vec::new();
        for run in 0..plan.runs {
            let label = format!("plain{run}");
            let site = field.site(&label).await?;
            let what = Drain {
                kind: Kind::Plain,
                records: plan.plain_records,
                fail_seconds: 0,
                label: &label,
            };
            runs.push(drain(&field, &site, &what).await?);
        }
        report.plain = Some(Drains::of(PLAIN, &runs));
    }
    if plan.has(Part::Parking) {
        let seconds = plan.parking_seconds;
        let without = steady(ground, "steady", plan.rate, seconds, 0).await?;
        let with = steady(ground, "failing", plan.rate, seconds, seconds).await?;
        report.steady = Some([without, with]);
    }
    if plan.has(Part::Soak) {
        report.soak = Some(steady(ground, "soak", plan.rate, plan.soak_seconds, 0).await?);
    }
    Ok(())
}

async fn filled<'a>(ground: &'a Ground, label: &str, records: u64) -> anyhow::Result<Field<'a>> {
    let field = Field::new(ground, label).await?;
    ground.say(&format!("producing {records} records"));
    field.load.backlog(records).await?;
    Ok(field)
}

/// What one round of a handler's drains gave.
struct Round {
    fresh: Drained,
    again: Drained,
    failing: Option<Drained>,
}

async fn ours(field: &Field<'_>, plan: &Plan, kind: Kind, run: usize) -> anyhow::Result<Round> {
    let label = format!("{}{run}", kind.name());
    let again = format!("{label}_again");
    let site = field.site(&label).await?;
    let mut what = Drain {
        kind,
        records: plan.records,
        fail_seconds: 0,
        label: &label,
    };
    let fresh = drain(field, &site, &what).await?;
    what.label = &again;
    let again = drain(field, &site, &what).await?;
    let failing = if plan.has(Part::Parking) {
        let label = format!("{label}_failing");
        let site = field.site(&label).await?;
        what.fail_seconds = plan.parking_seconds;
        what.label = &label;
        Some(drain(field, &site, &what).await?)
    } else {
        None
    };
    Ok(Round {
        fresh,
        again,
        failing,
    })
}

fn summed(name: &str, rounds: &[Round]) -> Option<Ours> {
    let drains = |name: String, figure: fn(&Round) -> Option<Drained>| {
        let runs: Vec<_> = rounds.iter().filter_map(figure).collect();
        (!runs.is_empty()).then(|| Drains::of(&name, &runs))
    };
    Some(Ours {
        fresh: drains(name.to_owned(), |round| Some(round.fresh.clone()))?,
        again: drains(format!("{name}, duplicates"), |round| {
            Some(round.again.clone())
        })?,
        failing: drains(format!("{name}, 1 % of keys failing"), |round| {
            round.failing.clone()
        }),
    })
}

fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(report)?;
    let folder = devstack::place::target().join("bench");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("inbox.json"), &text)?;
    let tables = table::show(report);
    std::fs::write(folder.join("inbox.txt"), &tables)?;
    if let Some(svg) = plot::svg(report) {
        std::fs::write(folder.join("inbox.svg"), svg)?;
    }
    if json {
        println!("{text}");
    } else {
        println!("{tables}\nkept in target/bench: inbox.json, inbox.txt, inbox.svg");
    }
    Ok(())
}
