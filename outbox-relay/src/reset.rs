//! What an operator asks for who puts a source's cursor elsewhere.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// After everything that is committed now: it counts as published.
    Now,
    /// Before everything that the outbox holds: it is published again, and consumers deduplicate by event id.
    Begin,
    /// Where the copy of the cursor beside the outbox says: for a database that was restored or failed over. What was
    /// published after that copy was written is published again.
    Adopt,
}

impl Goal {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Begin => "begin",
            Self::Adopt => "adopt",
        }
    }
}

/// Who wants something, and why; kept in the audit.
#[derive(Debug, Clone)]
pub struct By {
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// A cursor to be put elsewhere.
#[derive(Debug, Clone)]
pub struct Reset {
    /// Where to.
    pub goal: Goal,
    /// By whom and why.
    pub by: By,
}
