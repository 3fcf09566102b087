//! The relay: how quickly it drains, at what cost, how soon an event is consumable, and how it stands against its peers
//! and against what PostgreSQL and librdkafka could do at best.

mod burden;
mod ceiling;
mod debezium;
mod drain;
mod fill;
mod goal;
mod idle;
mod kill;
mod latency;
mod options;
mod plot;
mod ratio;
mod report;
mod table;
mod topic;

pub(crate) use options::Options;

use std::time::Duration;

use crate::ground::Ground;
use crate::machine::Machine;
use crate::program::told_to_end;
use fill::Stream;
use options::{Part, Peer, Plan};
use report::{Report, Subject};

/// Measures, keeps the report and prints it.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let (plan, machine) = (options.plan(), Machine::look());
    let ground = Ground::from_env()?;
    let mut report = Report {
        machine,
        relay: Subject::named("relay"),
        ceilings: None,
        open_transaction: None,
        waiting: None,
        peers: Vec::new(),
        goals: Vec::new(),
        plan,
    };
    // Told to end, it still removes what it made: a slot that stays keeps its server's log for ever.
    let measured = tokio::select! {
        measured = measure(&ground, &mut report) => measured,
        told = told_to_end() => told,
    };
    let cleaned = ground.clean().await;
    measured?;
    cleaned?;
    report.judge();
    print(&report, options.json)
}

async fn measure(ground: &Ground, report: &mut Report) -> anyhow::Result<()> {
    let plan = report.plan.clone();
    ours(ground, &plan, report).await?;
    if plan.peer == Some(Peer::Debezium) {
        report.peers = debezium::measure(ground, &plan).await?;
    }
    Ok(())
}

async fn ours(ground: &Ground, plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let subject = &mut report.relay;
    // First, while nothing of a drain is left to be done in the background.
    if plan.has(Part::Idle) {
        subject.idle = Some(idle::relay(ground, plan.idle_seconds).await?);
    }
    if plan.has(Part::Latency) {
        subject.latency = latency::relay(ground, plan).await?;
    }
    if [Part::Drain, Part::Ceilings, Part::Kill]
        .iter()
        .any(|part| plan.has(*part))
    {
        let (url, pool) = ground.database("drain").await?;
        pool.close().await;
        let stream = Stream::new(ground, "drain").await?;
        fill::outbox(ground, &url, &stream, plan.rows, plan.rows_per_transaction).await?;
        let warming = Duration::from_secs(plan.warming_seconds);
        drain::warm(ground, &url, &stream, plan.rows, warming).await?;
        if plan.has(Part::Drain) {
            let many = (plan.rows, plan.runs);
            let drains = drain::relay(ground, "drain", "drain", &url, &stream, many).await?;
            subject.drain = Some(drains);
        }
        if plan.has(Part::Ceilings) {
            report.ceilings = Some(ceiling::measure(ground, &url, plan.rows, plan.runs).await?);
        }
        if plan.has(Part::Kill) {
            subject.kill = Some(kill::relay(ground, &url, &stream, plan.rows, plan.runs).await?);
        }
    }
    if plan.has(Part::OpenTransaction) {
        report.open_transaction = Some(burden::open_transaction(ground, plan).await?);
    }
    if let Some(rows) = plan.waiting {
        report.waiting = Some(burden::waiting(ground, plan, rows).await?);
    }
    Ok(())
}

fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(report)?;
    let folder = devstack::place::target().join("bench");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("relay.json"), &text)?;
    let tables = table::show(report);
    std::fs::write(folder.join("relay.txt"), &tables)?;
    if let Some(svg) = plot::svg(report) {
        std::fs::write(folder.join("relay.svg"), svg)?;
    }
    if json {
        println!("{text}");
    } else {
        println!("{tables}\nkept in target/bench: relay.json, relay.txt, relay.svg");
    }
    Ok(())
}
