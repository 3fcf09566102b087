//! Orders locked for a change: exactly what a transition needs of them, and nothing else.

use std::collections::HashMap;

use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::domain::saga::{InconsistentState, PaymentLeg, Saga, Status, StockLeg, Verdict};

/// An order that this transaction holds.
#[derive(Debug, Clone, FromRow)]
pub struct LockedOrder {
    /// Its id.
    pub order_id: Uuid,
    /// Who ordered.
    pub customer_id: String,
    status: String,
    verdict: String,
    stock: String,
    payment: String,
    /// ISO 4217.
    pub currency: String,
    /// In minor units.
    pub total_minor: i64,
    /// Where the customer wants to be told.
    pub email: Option<String>,
    /// Until the payment is asked for.
    pub payment_token: Option<String>,
    /// Entries of its timeline.
    pub version: i64,
    /// When it was accepted.
    pub placed_at: chrono::DateTime<chrono::Utc>,
    /// The correlation id of the request that placed it.
    pub correlation: String,
}

/// A stored order that this version cannot read: another version, or a hand, wrote it.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableOrder {
    /// A name that no state has.
    #[error("order {order} has the unknown {column} {value:?}")]
    Name {
        /// The order.
        order: Uuid,
        /// The column.
        column: &'static str,
        /// What it holds.
        value: String,
    },
    /// Names that do not go together.
    #[error("order {order}: {source}")]
    State {
        /// The order.
        order: Uuid,
        /// Why.
        source: InconsistentState,
    },
}

/// Orders by id.
pub type Locked = HashMap<Uuid, LockedOrder>;

/// Locks these orders until the transaction ends; those that do not exist are missing from the answer.
///
/// In the order of their ids, so that two transactions with orders in common wait for each other and
/// never deadlock. Lock before appending events: it is what makes them leave in commit order.
pub async fn lock(tx: &mut PgConnection, ids: &[Uuid]) -> Result<Locked, sqlx::Error> {
    let rows: Vec<LockedOrder> = sqlx::query_as(
        "select order_id, customer_id, status, verdict, stock, payment, currency, total_minor, email, \
                payment_token, version, placed_at, correlation \
         from orders where order_id = any($1) order by order_id for update",
    )
    .bind(ids)
    .fetch_all(tx)
    .await?;
    Ok(by_id(rows))
}

/// Locks up to `limit` orders that wait since before `stale` for an answer. Orders that someone else
/// is moving on at this moment are left out: they are not waiting.
pub async fn lock_stale(
    tx: &mut PgConnection,
    stale: chrono::DateTime<chrono::Utc>,
    limit: i64,
) -> Result<Locked, sqlx::Error> {
    // The index finds old pending orders by when they were placed, which never changes; the last step is
    // compared row by row, among orders that are few because each ends soon.
    let rows: Vec<LockedOrder> = sqlx::query_as(
        "select order_id, customer_id, status, verdict, stock, payment, currency, total_minor, email, \
                payment_token, version, placed_at, correlation \
         from orders where verdict = 'pending' and placed_at <= $1 and updated_at <= $1 \
         order by placed_at limit $2 for update skip locked",
    )
    .bind(stale)
    .bind(limit)
    .fetch_all(tx)
    .await?;
    Ok(by_id(rows))
}

fn by_id(rows: Vec<LockedOrder>) -> Locked {
    rows.into_iter().map(|row| (row.order_id, row)).collect()
}

impl LockedOrder {
    /// Where its saga stands.
    pub fn saga(&self) -> Result<Saga, UnreadableOrder> {
        saga(
            self.order_id,
            [&self.status, &self.verdict, &self.stock, &self.payment],
        )
    }
}

/// The saga behind the columns status, verdict, stock and payment.
pub(super) fn saga(order: Uuid, columns: [&str; 4]) -> Result<Saga, UnreadableOrder> {
    let [status, verdict, stock, payment] = columns;
    let unknown = |column, value: &str| UnreadableOrder::Name {
        order,
        column,
        value: value.to_owned(),
    };
    Saga::from_parts(
        Status::parse(status).ok_or_else(|| unknown("status", status))?,
        Verdict::parse(verdict).ok_or_else(|| unknown("verdict", verdict))?,
        StockLeg::parse(stock).ok_or_else(|| unknown("stock", stock))?,
        PaymentLeg::parse(payment).ok_or_else(|| unknown("payment", payment))?,
    )
    .map_err(|source| UnreadableOrder::State { order, source })
}
