//! All that was measured, as it is kept in JSON.

use serde::Serialize;

use super::burden::Waiting;
use super::ceiling::Ceilings;
use super::drain::Drains;
use super::goal;
use super::idle::Idle;
use super::kill::Kills;
use super::latency::AtRate;
use super::options::Plan;
use crate::goals::Goal;
use crate::machine::Machine;

/// One run of the benchmark.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) plan: Plan,
    pub(crate) relay: Subject,
    pub(crate) ceilings: Option<Ceilings>,
    /// The relay's drain with a transaction open beneath it.
    pub(crate) open_transaction: Option<Drains>,
    pub(crate) waiting: Option<Waiting>,
    pub(crate) peers: Vec<Subject>,
    pub(crate) goals: Vec<Goal>,
}

/// Whoever is measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Subject {
    pub(crate) name: String,
    /// Started on a backlog.
    pub(crate) drain: Option<Drains>,
    /// Running already, warmed up by an earlier drain. The relay has no such state.
    pub(crate) warm: Option<Drains>,
    pub(crate) latency: Vec<AtRate>,
    pub(crate) idle: Option<Idle>,
    pub(crate) kill: Option<Kills>,
}

impl Subject {
    pub(crate) fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }
}

impl Report {
    /// Compares with the goals.
    pub(crate) fn judge(&mut self) {
        self.goals = goal::judge(self);
    }
}
