//! Replaying: choose, judge, then mark, publish and audit in one transaction.

use serde_json::Value;
use sqlx::PgPool;
use std::collections::BTreeMap;
use uuid::Uuid;

use crate::domain::selection::{self, Refusal};
use crate::happenings::Replayed;
use crate::inspect::{InspectError, Inspector};
use crate::store::{self, Order, Scope};

/// Which letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// These; all of them or none.
    Ids {
        /// Their ids, without repetitions.
        ids: Vec<i64>,
        /// Also if they were replayed before.
        again: bool,
    },
    /// The oldest that match, up to so many.
    Matching {
        /// What they match.
        scope: Scope,
        /// How many, at most.
        limit: i64,
    },
}

/// What somebody asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which letters.
    pub choice: Choice,
    /// Who asks.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
    /// The choice in the words of the request, for the audit.
    pub selection: Value,
    /// Have the consumer handle the events even if it may have forgotten that it did.
    pub force: bool,
    /// Tell what would happen, and do nothing.
    pub dry_run: bool,
}

/// What happened, or would happen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Id of the replay; none when there was nothing to do, or nothing was done.
    pub id: Option<Uuid>,
    /// The letters.
    pub ids: Vec<i64>,
    /// Matching letters that cannot be replayed, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// Matching open letters beyond the limit.
    pub remaining: i64,
}

/// Why nothing was replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The choice is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Kafka could not be asked for the replay topics.
    #[error(transparent)]
    Kafka(#[from] InspectError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Replays. When this returns, the replay is on record and its rows are in the outbox; the relay publishes them.
/// A crash at any moment leaves either all of that or nothing.
///
/// # Errors
/// [`ReplayError`]; then nothing was replayed.
pub async fn replay(
    pool: &PgPool,
    inspector: &Inspector,
    request: &Request,
) -> Result<Outcome, ReplayError> {
    let everywhere = Scope::default();
    let (ids, scope) = match &request.choice {
        Choice::Ids { ids, .. } => (Some(ids.as_slice()), &everywhere),
        Choice::Matching { scope, .. } => (None, scope),
    };
    // Asked before anything is locked: a broker takes its time.
    let topics = inspector
        .existing(store::replay_topics(pool, ids, scope).await?)
        .await?;

    let mut tx = pool.begin().await?;
    let mut outcome = Outcome::default();
    match &request.choice {
        Choice::Ids { ids, again } => {
            let found = store::lock(&mut tx, ids).await?;
            outcome.ids = selection::judge_ids(ids, &found, *again, &topics)?;
        }
        Choice::Matching { scope, limit } => {
            let found = store::chosen(&mut tx, scope, *limit).await?;
            let plan = selection::judge_matching(&found, &topics);
            outcome.ids = plan.ids;
            outcome.skipped = plan.skipped;
            if i64::try_from(found.len()).unwrap_or(i64::MAX) >= *limit {
                let matching = store::matching(&mut tx, scope).await?;
                outcome.remaining = matching - i64::try_from(found.len()).unwrap_or(i64::MAX);
            }
        }
    }
    if outcome.ids.is_empty() || request.dry_run {
        tx.rollback().await?;
        return Ok(outcome);
    }
    let order = Order {
        id: Uuid::now_v7(),
        actor: request.actor.clone(),
        reason: request.reason.clone(),
        selection: request.selection.clone(),
        force: request.force,
    };
    let letters = store::execute(&mut tx, &outcome.ids, &order).await?;
    tx.commit().await?;
    telemetry::emit(Replayed {
        id: order.id,
        actor: &order.actor,
        letters,
    });
    outcome.id = Some(order.id);
    Ok(outcome)
}
