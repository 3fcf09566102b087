//! Moves orders on: whatever happened to any number of orders goes through the pure saga in memory, and
//! is then written by one update, one insert into the timeline and one into the outbox.

mod changes;
mod events;

use chrono::{DateTime, Utc};
use oncebox::{Cause, Classify, ErrorClass, Outbox, OutboxError};
use sqlx::PgConnection;
use uuid::Uuid;

use super::locked::{Locked, UnreadableOrder};
use crate::domain::saga::SagaEvent;
use changes::Changes;

/// Something that happened to an order, and why.
#[derive(Debug)]
pub struct Happened {
    /// The order.
    pub order: Uuid,
    /// What.
    pub event: SagaEvent,
    /// What it follows from; events that it leads to carry it on.
    pub cause: Cause,
    /// Who says so.
    pub source: Source,
}

/// Where a step comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Somebody's HTTP request.
    Request,
    /// A record of this type.
    Event(&'static str),
    /// Time passed.
    Clock,
}

/// An order whose verdict was just given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The order.
    pub order: Uuid,
    /// Its verdict now.
    pub verdict: &'static str,
    /// Why, unless it is confirmed.
    pub reason_code: Option<&'static str>,
    /// From acceptance to verdict.
    pub took: chrono::Duration,
}

/// Why orders could not be moved on. The transaction has to be rolled back.
#[derive(Debug, thiserror::Error)]
pub enum ProgressError {
    /// A stored order makes no sense to this version.
    #[error(transparent)]
    Unreadable(#[from] UnreadableOrder),
    /// The payment token is gone before the payment was asked for.
    #[error("order {0} has no payment token any more")]
    TokenMissing(Uuid),
    /// A statement failed.
    #[error("writing orders failed: {0}")]
    Database(#[from] sqlx::Error),
    /// An event could not be appended.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
}

impl Classify for ProgressError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Unreadable(_) | Self::TokenMissing(_) => ErrorClass::Permanent,
            Self::Database(error) => error.class(),
            Self::Outbox(error) => error.class(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) | Self::TokenMissing(_) => "order.unreadable",
            Self::Database(error) => error.code(),
            Self::Outbox(error) => Classify::code(error),
        }
    }
}

/// Applies what happened, in this order, to the locked `orders`; what happened to an order that is not
/// among them is left out. Returns which orders were decided by it.
///
/// Everything is written in the caller's transaction. Events are appended after the locks were taken.
pub async fn advance(
    tx: &mut PgConnection,
    outbox: &Outbox,
    orders: &Locked,
    happened: &[Happened],
    now: DateTime<Utc>,
) -> Result<Vec<Decided>, ProgressError> {
    let mut changes = Changes::new(outbox, now);
    for each in happened {
        if let Some(order) = orders.get(&each.order) {
            changes.apply(order, each).await?;
        }
    }
    changes.write(tx).await
}

impl Source {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Event(_) => "event",
            Self::Clock => "clock",
        }
    }

    pub(super) const fn event_type(self) -> Option<&'static str> {
        match self {
            Self::Event(name) => Some(name),
            Self::Request | Self::Clock => None,
        }
    }
}
