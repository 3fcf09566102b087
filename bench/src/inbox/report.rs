//! All that was measured, as it is kept in JSON.

use serde::Serialize;

use super::drain::Drains;
use super::goal;
use super::options::Plan;
use super::steady::Steady;
use crate::goals::Goal;
use crate::machine::Machine;

/// One run of the benchmark.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) plan: Plan,
    pub(crate) single: Option<Ours>,
    pub(crate) batch: Option<Ours>,
    pub(crate) plain: Option<Drains>,
    /// The stream without failing keys and with them.
    pub(crate) steady: Option<[Steady; 2]>,
    pub(crate) soak: Option<Steady>,
    pub(crate) goals: Vec<Goal>,
}

/// One of our handlers.
#[derive(Debug, Serialize)]
pub(crate) struct Ours {
    pub(crate) fresh: Drains,
    /// The same records delivered again.
    pub(crate) again: Drains,
    /// With 1 % of the keys failing.
    pub(crate) failing: Option<Drains>,
}

impl Report {
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            machine: Machine::look(),
            plan,
            single: None,
            batch: None,
            plain: None,
            steady: None,
            soak: None,
            goals: Vec::new(),
        }
    }

    pub(crate) fn ours(&self) -> impl Iterator<Item = &Ours> {
        self.single.iter().chain(&self.batch)
    }

    /// All drains, in the order in which they are shown.
    pub(crate) fn drains(&self) -> impl Iterator<Item = &Drains> {
        self.ours()
            .flat_map(|ours| [Some(&ours.fresh), Some(&ours.again), ours.failing.as_ref()])
            .flatten()
            .chain(&self.plain)
    }

    /// Compares with the goals.
    pub(crate) fn judge(&mut self) {
        self.goals = goal::judge(self);
    }
}
