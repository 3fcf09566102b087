//! The first phase: brings every payment of a batch to where its command can be answered.
//!
//! In rounds. Each round takes one step for each order: one short transaction for the intents of all, then the provider,
//! many calls at once, then one short transaction for each bunch of results.

use futures::StreamExt as _;
use futures::stream;
use oncebox::{BatchFailure, Cause, Delivery};
use schemas::PaymentCommand;

use super::queue::Queue;
use super::step::{Next, Step, Taken, take};
use super::{PaymentFailure, Payments};
use crate::domain::answer::answer;
use crate::domain::command::Command;
use crate::domain::decision::{Decision, decide};
use crate::domain::operation::OrderId;
use crate::domain::payment::Payment;
use crate::store;

/// A step that the rules ask for.
struct Planned {
    payment: Payment,
    step: Step,
    cause: Cause,
}

impl Payments {
    pub(super) async fn settle(
        &self,
        batch: &[Delivery<PaymentCommand>],
    ) -> Result<(), BatchFailure> {
        let mut queue = Queue::of(batch);
        loop {
            let heads = queue.heads();
            if heads.is_empty() {
                return queue.into_result();
            }
            let planned = self.plan(&mut queue, &heads).await?;
            let mut steps = stream::iter(planned)
                .map(|planned| self.walk(planned))
                .buffer_unordered(self.concurrency)
                .ready_chunks(self.concurrency);
            // Stored bunch by bunch: what is known already must not wait for the slowest call.
            while let Some(bunch) = steps.next().await {
                let ended: Vec<_> = bunch
                    .iter()
                    .filter_map(|(_, taken)| taken.ended.clone())
                    .collect();
                store::outcomes::store(&self.pool, &ended).await?;
                bunch
                    .into_iter()
                    .for_each(|(payment, taken)| advance(&mut queue, payment, taken));
            }
        }
    }

    /// Decides what each order needs next, and commits the intents before anything is called.
    async fn plan(
        &self,
        queue: &mut Queue,
        heads: &[Command],
    ) -> Result<Vec<Planned>, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        store::intents::open(&mut tx, heads).await?;
        let orders: Vec<OrderId> = heads.iter().map(|command| command.order).collect();
        let mut payments = store::payments::lock(&mut tx, &orders).await?;
        let (mut calls, mut buried, mut planned) = (Vec::new(), Vec::new(), Vec::new());
        for command in heads {
            let order = command.order;
            let Some(task) = queue.task(order) else {
                continue;
            };
            let step = match decide(payments.get(&order), &command.ask, &task.absent) {
                Decision::Call(operation) => Step::Call(operation),
                Decision::LookUp(operation) => Step::LookUp(operation),
                Decision::Bury => {
                    buried.push(order);
                    queue.settled(order);
                    continue;
                }
                Decision::Settled => {
                    queue.settled(order);
                    continue;
                }
                Decision::Refuse(refusal) => {
                    queue.fail(order, PaymentFailure::refused(command, refusal).into());
                    continue;
                }
            };
            if let Step::Call(operation) = step {
                calls.push((order, operation));
            }
            let cause = task.cause.clone();
            planned.extend(payments.remove(&order).map(|payment| Planned {
                payment,
                step,
                cause,
            }));
        }
        store::intents::note_calls(&mut tx, &calls).await?;
        store::intents::bury(&mut tx, &buried).await?;
        tx.commit().await?;
        Ok(planned)
    }

    async fn walk(&self, planned: Planned) -> (Payment, Taken) {
        let Planned {
            payment,
            step,
            cause,
        } = planned;
        let context = telemetry::Context {
            correlation: cause.correlation,
            causation: cause.causation.map(|id| id.as_uuid()),
            trace: cause.trace.child(),
        };
        let taken = telemetry::context::scope(context, take(&self.provider, &payment, step)).await;
        (payment, taken)
    }
}

fn advance(queue: &mut Queue, mut payment: Payment, taken: Taken) {
    let order = payment.order;
    let Some(task) = queue.task(order) else {
        return;
    };
    match taken.next {
        Next::Known(operation, outcome) => {
            if let Some(standing) = payment.after(operation, &outcome) {
                payment.standing = standing;
            }
            // Otherwise the next round decides with what is stored by then.
            if answer(&payment, &task.command.ask).is_some() {
                queue.settled(order);
            }
        }
        Next::Absent(operation) => task.absent.insert(operation),
        // A capture whose answer was lost came first: look again, and refund it. But only once.
        Next::Conflict(_) if !task.conflicted => {
            task.conflicted = true;
            task.absent.clear();
        }
        Next::Conflict(error) => queue.fail(order, error.into()),
        Next::Failed(failure) => queue.fail(order, failure),
    }
}
