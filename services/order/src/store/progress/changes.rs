//! What a batch of happenings changes, collected in memory and written at its end.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use oncebox::{Outbox, OutboxBatch};
use sqlx::PgConnection;
use uuid::Uuid;

use super::events::push;
use super::{Decided, Happened, ProgressError};
use crate::domain::saga::{Command, Outcome, Saga, Transition};
use crate::store::locked::LockedOrder;
use crate::store::steps::{Step, Steps};

/// Changes that are not written yet.
pub(super) struct Changes<'a> {
    now: DateTime<Utc>,
    events: OutboxBatch<'a>,
    steps: Steps,
    moved: Vec<Moved>,
    at: HashMap<Uuid, usize>,
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
    pub(super) fn new(outbox: &'a Outbox, now: DateTime<Utc>) -> Self {
        Self {
            now,
            events: outbox.batch(),
            steps: Steps::default(),
            moved: Vec::new(),
            at: HashMap::new(),
            decided: Vec::new(),
        }
    }

    pub(super) async fn apply(
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
        push(
            &mut self.events,
            order,
            &transition,
            &happened.cause,
            self.now,
        )
        .await?;
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

    pub(super) async fn write(self, tx: &mut PgConnection) -> Result<Vec<Decided>, ProgressError> {
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
