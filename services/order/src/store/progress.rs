//! Moves orders on: whatever happened to any number of orders goes through the pure saga in memory, and
//! is then written by one update, one insert into the timeline and one into the outbox.

use chrono::{DateTime, Utc};
use oncebox::{Cause, Classify, ErrorClass, Outbox, OutboxBatch, OutboxError};
use schemas::inventory::{CommitStock, ReleaseStock};
use schemas::order::{OrderCancelled, OrderConfirmed};
use schemas::payment::{AuthorizePayment, CapturePayment, VoidPayment};
use sqlx::PgConnection;
use uuid::Uuid;

use super::locked::{Locked, LockedOrder, UnreadableOrder};
use super::steps::{Step, Steps};
use crate::domain::saga::{Command, Outcome, Saga, SagaEvent, Transition};

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

/// What a batch of happenings changes, not yet written.
struct Changes<'a> {
    now: DateTime<Utc>,
    events: OutboxBatch<'a>,
    steps: Steps,
    moved: Vec<Moved>,
    at: std::collections::HashMap<Uuid, usize>,
    decided: Vec<Decided>,
}

/// An order's new columns.
struct Moved {
    order: Uuid,
    saga: Saga,
    version: i64,
    decided: bool,
    reason: Option<(&'static str, String)>,
}

impl<'a> Changes<'a> {
    fn new(outbox: &'a Outbox, now: DateTime<Utc>) -> Self {
        Self {
            now,
            events: outbox.batch(),
            steps: Steps::default(),
            moved: Vec::new(),
            at: std::collections::HashMap::new(),
            decided: Vec::new(),
        }
    }

    async fn apply(
        &mut self,
        order: &LockedOrder,
        happened: &Happened,
    ) -> Result<(), ProgressError> {
        let known = self.at.get(&order.order_id).copied();
        let (saga, version) = match known.and_then(|at| self.moved.get(at)) {
            Some(moved) => (moved.saga, moved.version),
            None => (order.saga()?, order.version),
        };
        let Some(transition) = saga.on(&happened.event) else {
            return Ok(());
        };
        self.send(order, &transition, &happened.cause).await?;
        let version = self.tell(order.order_id, &transition, happened, version);
        let (decided, reason) = self.decide(order, &transition);
        let moved = Moved {
            order: order.order_id,
            saga: transition.saga,
            version,
            decided,
            reason,
        };
        match known.and_then(|at| self.moved.get_mut(at)) {
            Some(earlier) => {
                let (decided, reason) = (earlier.decided || moved.decided, earlier.reason.take());
                *earlier = Moved {
                    decided,
                    reason: moved.reason.or(reason),
                    ..moved
                };
            }
            None => {
                self.at.insert(order.order_id, self.moved.len());
                self.moved.push(moved);
            }
        }
        Ok(())
    }

    /// Commands first, then what the world is told.
    async fn send(
        &mut self,
        order: &LockedOrder,
        transition: &Transition,
        cause: &Cause,
    ) -> Result<(), ProgressError> {
        let order_id = order.order_id;
        for command in &transition.commands {
            match command {
                // Asked for when the order was placed, and never again.
                Command::ReserveStock => continue,
                Command::AuthorizePayment => {
                    let token = order.payment_token.clone();
                    let command = AuthorizePayment {
                        order_id,
                        customer_id: order.customer_id.clone(),
                        amount_minor: order.total_minor,
                        currency: order.currency.clone(),
                        payment_token: token.ok_or(ProgressError::TokenMissing(order_id))?,
                    };
                    self.events.push(&command, cause).await?
                }
                Command::CommitStock => self.events.push(&CommitStock { order_id }, cause).await?,
                Command::CapturePayment => {
                    self.events
                        .push(&CapturePayment { order_id }, cause)
                        .await?
                }
                Command::ReleaseStock { reason } => {
                    let reason = reason.clone();
                    self.events
                        .push(&ReleaseStock { order_id, reason }, cause)
                        .await?
                }
                Command::VoidPayment { reason } => {
                    let reason = reason.clone();
                    self.events
                        .push(&VoidPayment { order_id, reason }, cause)
                        .await?
                }
            };
        }
        match &transition.outcome {
            Some(Outcome::Confirmed) => {
                let event = OrderConfirmed {
                    order_id,
                    customer_id: order.customer_id.clone(),
                    total_minor: order.total_minor,
                    currency: order.currency.clone(),
                    email: order.email.clone(),
                    confirmed_at: self.now,
                };
                self.events.push(&event, cause).await?;
            }
            Some(Outcome::Cancelled(cancellation)) => {
                let event = OrderCancelled {
                    order_id,
                    customer_id: order.customer_id.clone(),
                    email: order.email.clone(),
                    reason_code: cancellation.code.to_owned(),
                    reason: cancellation.reason.clone(),
                    cancelled_at: self.now,
                };
                self.events.push(&event, cause).await?;
            }
            None => {}
        }
        Ok(())
    }

    /// Writes the step into the timeline, and the decision as a step of its own; returns the new version.
    fn tell(
        &mut self,
        order: Uuid,
        transition: &Transition,
        happened: &Happened,
        version: i64,
    ) -> i64 {
        let status = transition.saga.status().as_str();
        let (source, cause) = (happened.source, &happened.cause);
        let commands = transition.commands.iter().map(Command::name).collect();
        let detail = transition.detail.clone();
        let step = transition.step;
        self.steps.push(Step {
            order,
            entry: version + 1,
            step,
            status,
            detail,
            commands,
            source,
            cause,
        });
        let (step, detail) = match &transition.outcome {
            None => return version + 1,
            Some(Outcome::Confirmed) => ("order.confirmed", None),
            Some(Outcome::Cancelled(cancellation)) => {
                ("order.cancelled", Some(cancellation.reason.clone()))
            }
        };
        let commands = Vec::new();
        self.steps.push(Step {
            order,
            entry: version + 2,
            step,
            status,
            detail,
            commands,
            source,
            cause,
        });
        version + 2
    }

    fn decide(
        &mut self,
        order: &LockedOrder,
        transition: &Transition,
    ) -> (bool, Option<(&'static str, String)>) {
        let Some(outcome) = &transition.outcome else {
            return (false, None);
        };
        let reason = match outcome {
            Outcome::Confirmed => None,
            Outcome::Cancelled(cancellation) => {
                Some((cancellation.code, cancellation.reason.clone()))
            }
        };
        self.decided.push(Decided {
            order: order.order_id,
            verdict: transition.saga.verdict().as_str(),
            reason_code: reason.as_ref().map(|(code, _)| *code),
            took: self.now - order.placed_at,
        });
        (true, reason)
    }

    async fn write(self, tx: &mut PgConnection) -> Result<Vec<Decided>, ProgressError> {
        if self.moved.is_empty() {
            return Ok(Vec::new());
        }
        let column =
            |name: fn(&Moved) -> &'static str| self.moved.iter().map(name).collect::<Vec<_>>();
        sqlx::query(
            "update orders set status = new.status, verdict = new.verdict, stock = new.stock, \
                    payment = new.payment, version = new.version, updated_at = $10, payment_token = null, \
                    decided_at = case when new.decided then $10 else orders.decided_at end, \
                    reason_code = coalesce(new.reason_code, orders.reason_code), \
                    reason = coalesce(new.reason, orders.reason) \
             from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], \
                         $7::bool[], $8::text[], $9::text[]) \
               as new (order_id, status, verdict, stock, payment, version, decided, reason_code, reason) \
             where orders.order_id = new.order_id",
        )
        .bind(self.moved.iter().map(|moved| moved.order).collect::<Vec<_>>())
        .bind(column(|moved| moved.saga.status().as_str()))
        .bind(column(|moved| moved.saga.verdict().as_str()))
        .bind(column(|moved| moved.saga.stock().as_str()))
        .bind(column(|moved| moved.saga.payment().as_str()))
        .bind(self.moved.iter().map(|moved| moved.version).collect::<Vec<_>>())
        .bind(self.moved.iter().map(|moved| moved.decided).collect::<Vec<_>>())
        .bind(self.moved.iter().map(|moved| moved.reason.as_ref().map(|(code, _)| *code)).collect::<Vec<_>>())
        .bind(
            self.moved
                .iter()
                .map(|moved| moved.reason.as_ref().map(|(_, text)| text.as_str()))
                .collect::<Vec<_>>(),
        )
        .bind(self.now)
        .execute(&mut *tx)
        .await?;
        self.steps.insert(&mut *tx, self.now).await?;
        self.events.insert(tx).await?;
        Ok(self.decided)
    }
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
