//! Debezium's outbox event router on Kafka Connect, measured in turn with the same rows, topics and readers.
//!
//! Started on a backlog as after an outage: its connector is configured, its slot exists, and the rows were written while
//! the worker was down. Warm: the same worker, after that drain, told to go on.

mod connector;
mod table;
mod worker;

use super::drain::{Drained, Drains, Watch};
use super::fill::Stream;
use super::kill::{self, Kills};
use super::options::{Part, Plan};
use super::report::Subject;
use super::{idle, latency};
use crate::ground::Ground;
use crate::program::Program;
use connector::Connector;
use table::Table;
use worker::Worker;

/// What the worker promises a read_committed reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    ExactlyOnce,
    AtLeastOnce,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::ExactlyOnce => "debezium, exactly-once",
            Self::AtLeastOnce => "debezium, at-least-once",
        }
    }

    /// For names of groups, slots and databases.
    fn label(self) -> &'static str {
        match self {
            Self::ExactlyOnce => "exactly",
            Self::AtLeastOnce => "atleast",
        }
    }
}

/// Everything that runs for one mode.
struct Bench<'a> {
    ground: &'a Ground,
    plan: &'a Plan,
    table: Table,
    stream: Stream,
    worker: Worker,
    connector: Connector,
}

/// Both modes, one after the other.
pub(crate) async fn measure(ground: &Ground, plan: &Plan) -> anyhow::Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for mode in [Mode::ExactlyOnce, Mode::AtLeastOnce] {
        ground.say(mode.name());
        let bench = Bench::prepare(ground, plan, mode).await?;
        subjects.push(bench.measure(mode).await?);
    }
    Ok(subjects)
}

impl<'a> Bench<'a> {
    /// Table, slot, topics and a configured connector; the worker is stopped again, its group left in peace.
    async fn prepare(ground: &'a Ground, plan: &'a Plan, mode: Mode) -> anyhow::Result<Self> {
        let stream = Stream::new(ground, mode.label()).await?;
        let table = Table::create(ground, mode.label()).await?;
        let worker = Worker::prepare(ground, mode).await?;
        let connector = Connector::new(ground, mode, &table, worker.port)?;
        let mut program = worker.start(ground)?;
        program.during(connector.configure()).await?;
        program.terminate().await?;
        Ok(Self {
            ground,
            plan,
            table,
            stream,
            worker,
            connector,
        })
    }

    async fn measure(&self, mode: Mode) -> anyhow::Result<Subject> {
        let (ground, plan) = (self.ground, self.plan);
        let mut subject = Subject::named(mode.name());
        if plan.has(Part::Drain) {
            let (mut cold, mut warm) = (Vec::new(), Vec::new());
            for run in 1..=plan.runs {
                let (mut program, drained) = self.started_on_backlog(run).await?;
                cold.push(drained);
                warm.push(self.warm(run, &mut program).await?);
                program.terminate().await?;
            }
            subject.drain = Some(Drains::of(&cold));
            subject.warm = Some(Drains::of(&warm));
        }
        if plan.has(Part::Latency) || plan.has(Part::Idle) {
            let without = match plan.has(Part::Idle) {
                true => Some(idle::stretch(ground, plan.idle_seconds).await),
                false => None,
            };
            let mut program = self.worker.start(ground)?;
            program.during(self.connector.running()).await?;
            if plan.has(Part::Latency) {
                let path = latency::Path {
                    url: self.table.url.clone(),
                    insert: table::INSERT_ONE,
                    topic: self.stream.topic.clone(),
                };
                let name = mode.name();
                subject.latency =
                    latency::all_rates(ground, name, &path, &mut program, plan).await?;
            }
            if let Some(without) = without {
                let seconds = plan.idle_seconds;
                let idle = idle::program(ground, &mut program, 1, seconds, without).await?;
                subject.idle = Some(idle);
            }
            program.terminate().await?;
        }
        if plan.has(Part::Kill) {
            subject.kill = Some(self.kills(mode).await?);
        }
        Ok(subject)
    }

    async fn started_on_backlog(&self, run: usize) -> anyhow::Result<(Program, Drained)> {
        let (ground, rows) = (self.ground, self.plan.rows);
        self.fill().await?;
        let watch = Watch::begin(ground, &self.stream).await?;
        let mut program = self.worker.start(ground)?;
        let drained = watch.measure(ground, &mut program, rows, 0.0).await?;
        ground.say(&format!(
            "started on a backlog {run}: {}",
            drained.in_short()
        ));
        Ok((program, drained))
    }

    async fn warm(&self, run: usize, program: &mut Program) -> anyhow::Result<Drained> {
        let (ground, rows) = (self.ground, self.plan.rows);
        program.during(self.connector.stop()).await?;
        self.fill().await?;
        let watch = Watch::begin(ground, &self.stream).await?;
        let used = program.cpu_seconds()?;
        program.during(self.connector.resume()).await?;
        let drained = watch.measure(ground, program, rows, used).await?;
        ground.say(&format!("warm {run}: {}", drained.in_short()));
        Ok(drained)
    }

    async fn kills(&self, mode: Mode) -> anyhow::Result<Kills> {
        let (ground, plan) = (self.ground, self.plan);
        let mut kills = Vec::new();
        for run in 1..=plan.runs {
            self.fill().await?;
            let start = || self.worker.start(ground);
            let killed = kill::once(ground, &self.stream, plan.rows, start).await?;
            ground.say(&format!(
                "{}, kill {run}: goes on after {:.2} s, {} missing, {} twice",
                mode.name(),
                killed.resumed_after_seconds,
                killed.missing,
                killed.duplicates
            ));
            kills.push(killed);
        }
        Ok(Kills::of(&kills))
    }

    async fn fill(&self) -> anyhow::Result<()> {
        let plan = self.plan;
        self.table
            .fill(
                self.ground,
                &self.stream,
                plan.rows,
                plan.rows_per_transaction,
            )
            .await
    }
}
