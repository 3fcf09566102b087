//! Writes a new order with the events that start its saga.

use chrono::{DateTime, Utc};
use oncebox::{Cause, Outbox};
use schemas::inventory::{ReserveStock, StockLine};
use schemas::order::{OrderLine, OrderPlaced};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::progress::{ProgressError, Source};
use super::read::OrderRow;
use super::steps::{Step, Steps};
use crate::domain::saga::{Command, start};
use crate::domain::{OrderId, Submission};

/// Inserts the order, the first entry of its timeline, `OrderPlaced` and `ReserveStock`, all in the
/// caller's transaction. Returns the order as it is stored.
pub async fn insert(
    tx: &mut PgConnection,
    outbox: &Outbox,
    id: OrderId,
    submission: &Submission,
    cause: &Cause,
    now: DateTime<Utc>,
) -> Result<OrderRow, ProgressError> {
    let first = start();
    let order_id = id.as_uuid();
    let status = first.saga.status().as_str();
    let lines: Vec<OrderLine> = submission
        .lines
        .iter()
        .map(|line| OrderLine {
            product: line.product.as_str().to_owned(),
            quantity: line.quantity.get(),
            unit_price_minor: line.unit_price.minor(),
        })
        .collect();
    let reserve = ReserveStock {
        order_id,
        lines: lines
            .iter()
            .map(|line| StockLine {
                product: line.product.clone(),
                quantity: line.quantity,
            })
            .collect(),
    };
    let row = sqlx::query_as::<_, OrderRow>(
        "insert into orders (order_id, customer_id, status, verdict, stock, payment, currency, total_minor, \
                email, lines, payment_token, correlation, version, placed_at, updated_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1, $13, $13) \
         returning order_id, customer_id, status, verdict, stock, payment, currency, total_minor, \
                email, lines, reason_code, reason, correlation, version, placed_at, updated_at, decided_at",
    )
    .bind(order_id)
    .bind(submission.customer.as_str())
    .bind(status)
    .bind(first.saga.verdict().as_str())
    .bind(first.saga.stock().as_str())
    .bind(first.saga.payment().as_str())
    .bind(submission.currency.code())
    .bind(submission.total.minor())
    .bind(&submission.email)
    .bind(Json(&lines))
    .bind(submission.payment_token.reveal())
    .bind(&cause.correlation)
    .bind(now)
    .fetch_one(&mut *tx)
    .await?;
    let mut steps = Steps::default();
    steps.push(Step {
        order: order_id,
        entry: 1,
        step: first.step,
        status,
        detail: None,
        commands: first.commands.iter().map(Command::name).collect(),
        source: Source::Request,
        cause,
    });
    steps.insert(&mut *tx, now).await?;
    let placed = OrderPlaced {
        order_id,
        customer_id: submission.customer.as_str().to_owned(),
        lines,
        total_minor: submission.total.minor(),
        currency: submission.currency.code().to_owned(),
        email: submission.email.clone(),
        placed_at: now,
    };
    let mut events = outbox.batch();
    events.push(&placed, cause).await?;
    events.push(&reserve, cause).await?;
    events.insert(tx).await?;
    Ok(row)
}
