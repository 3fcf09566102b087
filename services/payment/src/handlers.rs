//! Commands in, provider calls in between, answers out.
//!
//! Two phases. `prepare` works outside any long transaction: the intent is committed, the provider is called under its
//! idempotency key, the result is stored. `handle`, inside the consumer's transaction, only reads what is stored and
//! appends the answers. A crash at any point repeats steps that are harmless to repeat.

mod command;
mod failure;
mod housekeeping;
mod prepare;
mod queue;
mod step;

use std::sync::Arc;

use async_trait::async_trait;
use oncebox::{
    BatchFailure, BatchHandler, Cause, Delivery, Failure, Outbox, OutboxBatch, OutboxError,
};
use schemas::PaymentCommand;
use schemas::payment::{PaymentAuthorized, PaymentCaptured, PaymentDeclined, PaymentVoided};
use sqlx::{PgConnection, PgPool};

pub use self::failure::PaymentFailure;
pub use self::housekeeping::watch;

use crate::domain::answer::{Answer, answer};
use crate::domain::operation::OrderId;
use crate::provider::Provider;
use crate::store;

/// Handles `payment.commands`.
#[derive(Debug, Clone)]
pub struct Payments {
    pool: PgPool,
    outbox: Outbox,
    provider: Arc<Provider>,
    /// So many provider calls at once.
    concurrency: usize,
}

impl Payments {
    pub fn new(pool: PgPool, outbox: Outbox, provider: Arc<Provider>, concurrency: usize) -> Self {
        Self {
            pool,
            outbox,
            provider,
            concurrency: concurrency.max(1),
        }
    }
}

#[async_trait]
impl BatchHandler for Payments {
    type Message = PaymentCommand;

    async fn prepare(&self, batch: &[Delivery<PaymentCommand>]) -> Result<(), BatchFailure> {
        self.settle(batch).await
    }

    async fn handle(
        &self,
        tx: &mut PgConnection,
        batch: &[Delivery<PaymentCommand>],
    ) -> Result<(), BatchFailure> {
        let orders: Vec<OrderId> = batch
            .iter()
            .map(|delivery| OrderId(delivery.message.order_id()))
            .collect();
        let payments = store::payments::lock(tx, &orders).await?;
        let mut answers = self.outbox.batch();
        let mut failed: Vec<(usize, Failure)> = Vec::new();
        for (index, delivery) in batch.iter().enumerate() {
            let order = OrderId(delivery.message.order_id());
            let answered = command::of(&delivery.message).and_then(|command| {
                let stored = payments
                    .get(&order)
                    .and_then(|payment| answer(payment, &command.ask));
                stored.ok_or(PaymentFailure::NotPrepared { order })
            });
            match answered {
                Ok(answer) => push(&mut answers, order, answer, &delivery.cause()).await?,
                Err(failure) => failed.push((index, failure.into())),
            }
        }
        if !failed.is_empty() {
            return Err(BatchFailure::Records(failed));
        }
        answers.insert(tx).await?;
        Ok(())
    }
}

async fn push(
    answers: &mut OutboxBatch<'_>,
    order: OrderId,
    answer: Answer,
    cause: &Cause,
) -> Result<(), OutboxError> {
    let order_id = order.0;
    match answer {
        Answer::Authorized { authorization } => {
            answers
                .push(
                    &PaymentAuthorized {
                        order_id,
                        authorization_id: authorization,
                    },
                    cause,
                )
                .await
        }
        Answer::Declined { code, reason } => {
            answers
                .push(
                    &PaymentDeclined {
                        order_id,
                        reason_code: code,
                        reason,
                    },
                    cause,
                )
                .await
        }
        Answer::Captured { capture } => {
            answers
                .push(
                    &PaymentCaptured {
                        order_id,
                        capture_id: capture,
                    },
                    cause,
                )
                .await
        }
        Answer::Voided { refunded } => {
            answers
                .push(&PaymentVoided { order_id, refunded }, cause)
                .await
        }
    }?;
    Ok(())
}
