//! The events that a transition sends.

use chrono::{DateTime, Utc};
use oncebox::{Cause, OutboxBatch};
use schemas::inventory::{CommitStock, ReleaseStock};
use schemas::order::{OrderCancelled, OrderConfirmed};
use schemas::payment::{AuthorizePayment, CapturePayment, VoidPayment};

use super::ProgressError;
use crate::domain::saga::{Command, Outcome, Transition};
use crate::store::locked::LockedOrder;

/// Adds what `transition` sends to the batch: commands first, then what the world is told.
pub(super) async fn push(
    events: &mut OutboxBatch<'_>,
    order: &LockedOrder,
    transition: &Transition,
    cause: &Cause,
    now: DateTime<Utc>,
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
                events.push(&command, cause).await?
            }
            Command::CommitStock => events.push(&CommitStock { order_id }, cause).await?,
            Command::CapturePayment => events.push(&CapturePayment { order_id }, cause).await?,
            Command::ReleaseStock { reason } => {
                let reason = reason.clone();
                events
                    .push(&ReleaseStock { order_id, reason }, cause)
                    .await?
            }
            Command::VoidPayment { reason } => {
                let reason = reason.clone();
                events
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
                confirmed_at: now,
            };
            events.push(&event, cause).await?;
        }
        Some(Outcome::Cancelled(cancellation)) => {
            let event = OrderCancelled {
                order_id,
                customer_id: order.customer_id.clone(),
                email: order.email.clone(),
                reason_code: cancellation.code.to_owned(),
                reason: cancellation.reason.clone(),
                cancelled_at: now,
            };
            events.push(&event, cause).await?;
        }
        None => {}
    }
    Ok(())
}
