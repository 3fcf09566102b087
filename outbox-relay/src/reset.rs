//! An operator's order to put a source's cursor elsewhere, and how an instance carries it out.

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::ToSchema;

use crate::cursor::Cursor;
use crate::instance::{End, Instance};
use crate::source::{Source, SourceError};

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

/// What is asked for, by whom and why.
#[derive(Debug, Clone)]
pub struct Reset {
    /// Where to.
    pub goal: Goal,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// A reset, and whom to answer.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) reset: Reset,
    pub(crate) answer: oneshot::Sender<Result<Cursor, String>>,
}

impl<S: Source> Instance<S> {
    /// Puts the cursor elsewhere. The database goes first and Kafka after it: between the two the old cursor still
    /// decides, and the order can be given again.
    pub(crate) async fn reset(&mut self, order: Order) {
        let done = self.try_to_reset(&order.reset).await;
        match &done {
            Ok(cursor) => tracing::info!(
                source = self.name,
                goal = order.reset.goal.name(),
                cursor = %cursor.settled,
                "cursor set"
            ),
            Err(error) => tracing::warn!(source = self.name, error, "cursor not set"),
        }
        // Whoever asked may be gone.
        let _ = order.answer.send(done);
    }

    async fn try_to_reset(&mut self, reset: &Reset) -> Result<Cursor, String> {
        self.source.forget_identity();
        let told = |error: SourceError| error.to_string();
        let identity = self.source.identity().await.map_err(told)?;
        let published = self.seat.last_cursor().await?;
        if let Some(last) = published
            && !last.released.is_empty()
        {
            self.source.released(&last.released).await.map_err(told)?;
        }
        let cursor = self.source.reset(&identity, reset).await.map_err(told)?;
        match self.seat.put(cursor.clone()).await {
            Ok(()) => Ok(cursor),
            Err(End::Again(reason) | End::Stopped { reason, .. }) => Err(reason),
            Err(End::Shutdown) => Err("the relay is stopping".into()),
        }
    }
}
