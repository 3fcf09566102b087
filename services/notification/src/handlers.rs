//! Outcomes of orders in, messages out, and an event for each that tells what became of it.
//!
//! Two phases. `prepare` works outside any long transaction: the intents are committed, the messages sent, the results
//! stored as they come in. `handle`, inside the consumer's transaction, only reads what is stored and appends the events.
//!
//! A message is sent once however often its record is delivered: the log's row, unique by order and template, says that
//! it went out. One window stays, because a mail server takes part in no transaction: when the process dies, or is cut by
//! a deadline, after the server took the message over and before the result is stored, the message is sent again. The
//! same holds for a moment in which a partition moves and its former owner still finishes. Both copies bear the same
//! Message-ID. The other choice, storing before sending, would lose messages instead.

mod failure;
mod outcome;
mod send;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use oncebox::{
    BatchFailure, BatchHandler, Cause, Delivery, Failure, Outbox, OutboxBatch, OutboxError,
};
use schemas::notification::{NotificationFailed, NotificationSent};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

pub use self::failure::NotPrepared;
pub use self::outcome::OrderOutcome;

use crate::domain::{Channel, Status};
use crate::mailer::Mailer;
use crate::store::results::{self, Ended};

/// Tells customers how their orders ended.
#[derive(Debug, Clone)]
pub struct Notifications {
    pool: PgPool,
    outbox: Outbox,
    /// Without one, everything goes to the log channel.
    mailer: Option<Arc<Mailer>>,
    /// So many messages at once.
    concurrency: usize,
    /// The longest time for one message.
    send_timeout: Duration,
}

impl Notifications {
    /// A handler that tells of results through `outbox`, and sends by `mailer` where there is one.
    #[must_use]
    pub fn new(
        pool: PgPool,
        outbox: Outbox,
        mailer: Option<Arc<Mailer>>,
        concurrency: usize,
        send_timeout: Duration,
    ) -> Self {
        Self {
            pool,
            outbox,
            mailer,
            concurrency: concurrency.max(1),
            send_timeout,
        }
    }
}

#[async_trait]
impl BatchHandler for Notifications {
    type Message = OrderOutcome;

    async fn prepare(&self, batch: &[Delivery<OrderOutcome>]) -> Result<(), BatchFailure> {
        self.send_all(batch).await
    }

    async fn handle(
        &self,
        tx: &mut PgConnection,
        batch: &[Delivery<OrderOutcome>],
    ) -> Result<(), BatchFailure> {
        let orders: HashSet<Uuid> = batch.iter().map(|each| each.message.order_id()).collect();
        let orders: Vec<Uuid> = orders.into_iter().collect();
        let rows = results::lock(tx, &orders).await?;
        let ended: HashMap<(Uuid, &str), &Ended> = rows
            .iter()
            .map(|row| ((row.order_id, row.template.as_str()), row))
            .collect();
        let mut events = self.outbox.batch();
        let mut announced: HashSet<Uuid> = HashSet::new();
        let mut failed: Vec<(usize, Failure)> = Vec::new();
        for (index, delivery) in batch.iter().enumerate() {
            let order = delivery.message.order_id();
            let template = delivery.message.template();
            let key = (order, template.as_str());
            let Some((row, status)) = ended
                .get(&key)
                .and_then(|row| Some((*row, Status::parse(&row.status)?)))
                .filter(|(_, status)| status.is_final())
            else {
                failed.push((index, NotPrepared { order, template }.into()));
                continue;
            };
            // Told of once, also when two different records speak of the same outcome.
            if !row.announced && announced.insert(row.id) {
                push(&mut events, row, status, &delivery.cause()).await?;
            }
        }
        if !failed.is_empty() {
            return Err(BatchFailure::Records(failed));
        }
        let announced: Vec<Uuid> = announced.into_iter().collect();
        results::announced(tx, &announced).await?;
        events.insert(tx).await?;
        Ok(())
    }

    fn time_limit(&self, timeout: Duration, records: usize) -> Duration {
        // A batch takes as long as its messages, one connection's share after the other.
        let rounds = records.div_ceil(self.concurrency);
        let sending = self
            .send_timeout
            .saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX));
        timeout.saturating_add(sending)
    }
}

async fn push(
    events: &mut OutboxBatch<'_>,
    row: &Ended,
    status: Status,
    cause: &Cause,
) -> Result<(), OutboxError> {
    let (notification_id, order_id) = (row.id, row.order_id);
    let (channel, template) = (row.channel.clone(), row.template.clone());
    // The address left this service only when it was written to.
    let recipient = match Channel::parse(&row.channel) {
        Some(Channel::Email) => row.recipient.clone(),
        _ => String::new(),
    };
    if status == Status::Sent {
        let event = NotificationSent {
            notification_id,
            order_id,
            channel,
            recipient,
            template,
        };
        events.push(&event, cause).await?;
    } else {
        let event = NotificationFailed {
            notification_id,
            order_id,
            channel,
            recipient,
            template,
            error: row.error.clone().unwrap_or_default(),
        };
        events.push(&event, cause).await?;
    }
    Ok(())
}
