//! The answers of inventory and payment, a batch at a time.

use async_trait::async_trait;
use chrono::{SubsecRound, Utc};
use oncebox::{BatchFailure, BatchHandler, Delivery, ErrorClass, Event, Failure, Outbox};
use schemas::inventory::{StockCommitted, StockRejected, StockReleased, StockReserved};
use schemas::payment::{PaymentAuthorized, PaymentCaptured, PaymentDeclined, PaymentVoided};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::saga::{SagaEvent, Shortage};
use crate::happenings::OrderDecided;
use crate::store::locked::lock;
use crate::store::progress::{Happened, Source, advance};

oncebox::messages! {
    /// What the group `order` reads, on `inventory.events` and `payment.events`.
    pub enum Reply {
        StockReserved, StockRejected, StockCommitted, StockReleased,
        PaymentAuthorized, PaymentDeclined, PaymentCaptured, PaymentVoided,
    }
    others skip
}

/// Moves orders on as their answers come in.
#[derive(Debug, Clone)]
pub struct Replies {
    outbox: Outbox,
}

impl Replies {
    /// A handler that sends the next commands through `outbox`.
    #[must_use]
    pub fn new(outbox: Outbox) -> Self {
        Self { outbox }
    }
}

#[async_trait]
impl BatchHandler for Replies {
    type Message = Reply;

    async fn handle(
        &self,
        tx: &mut PgConnection,
        batch: &[Delivery<Reply>],
    ) -> Result<(), BatchFailure> {
        let happened: Vec<Happened> = batch.iter().map(happened).collect();
        let mut ids: Vec<Uuid> = happened.iter().map(|each| each.order).collect();
        ids.sort_unstable();
        ids.dedup();
        let orders = lock(tx, &ids).await?;
        // An order is committed before its first command leaves, so an answer for an unknown one is from
        // another database (a restore, a mix-up): somebody has to look at it.
        let strangers: Vec<_> = happened
            .iter()
            .enumerate()
            .filter(|(_, each)| !orders.contains_key(&each.order))
            .map(|(at, each)| (at, unknown(each.order)))
            .collect();
        if !strangers.is_empty() {
            return Err(BatchFailure::Records(strangers));
        }
        let now = Utc::now().trunc_subsecs(3);
        for decided in advance(tx, &self.outbox, &orders, &happened, now).await? {
            telemetry::emit(OrderDecided(&decided));
        }
        Ok(())
    }
}

fn unknown(order: Uuid) -> Failure {
    let message = format!("order {order} is not in this database");
    Failure::new(ErrorClass::Permanent, "order.unknown", message)
}

fn happened(delivery: &Delivery<Reply>) -> Happened {
    let (order, event, name) = match &delivery.message {
        Reply::StockReserved(reply) => (
            reply.order_id,
            SagaEvent::StockReserved,
            StockReserved::TYPE,
        ),
        Reply::StockRejected(reply) => {
            let shortages = reply.shortages.iter().map(|short| Shortage {
                product: short.product.clone(),
                wanted: short.wanted,
                available: short.available,
            });
            (
                reply.order_id,
                SagaEvent::StockRejected(shortages.collect()),
                StockRejected::TYPE,
            )
        }
        Reply::StockCommitted(reply) => (
            reply.order_id,
            SagaEvent::StockCommitted,
            StockCommitted::TYPE,
        ),
        Reply::StockReleased(reply) => (
            reply.order_id,
            SagaEvent::StockReleased,
            StockReleased::TYPE,
        ),
        Reply::PaymentAuthorized(reply) => (
            reply.order_id,
            SagaEvent::PaymentAuthorized,
            PaymentAuthorized::TYPE,
        ),
        Reply::PaymentDeclined(reply) => {
            let event = SagaEvent::PaymentDeclined {
                code: reply.reason_code.clone(),
                reason: reply.reason.clone(),
            };
            (reply.order_id, event, PaymentDeclined::TYPE)
        }
        Reply::PaymentCaptured(reply) => (
            reply.order_id,
            SagaEvent::PaymentCaptured,
            PaymentCaptured::TYPE,
        ),
        Reply::PaymentVoided(reply) => {
            let event = SagaEvent::PaymentVoided {
                refunded: reply.refunded,
            };
            (reply.order_id, event, PaymentVoided::TYPE)
        }
    };
    Happened {
        order,
        event,
        cause: delivery.cause(),
        source: Source::Event(name),
    }
}
