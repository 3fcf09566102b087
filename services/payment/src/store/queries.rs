//! What the API shows of payments: read only, without the payment token.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use crate::domain::operation::OrderId;
use crate::domain::payment::State;

// A payment whose provider has not answered is shown as unknown, whatever was settled before.
macro_rules! shown {
    () => {
        "select order_id, customer_id, amount_minor, currency, merchant_account, state, decline_code, decline_reason,
                created_at, updated_at
         from (select p.*,
                      case when standing in ('created', 'authorized', 'captured')
                                and exists (select from operations o
                                            where o.order_id = p.order_id and o.settled_at is null and o.calls > o.answers)
                           then 'unknown' else standing end as state
               from payments p) shown"
    };
}

#[derive(Debug, FromRow)]
pub struct PaymentRow {
    pub order_id: Uuid,
    pub customer_id: Option<String>,
    pub amount_minor: Option<i64>,
    pub currency: Option<String>,
    pub merchant_account: Option<String>,
    /// As [`State::name`].
    pub state: String,
    pub decline_code: Option<String>,
    pub decline_reason: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Debug, FromRow)]
pub struct OperationRow {
    pub order_id: Uuid,
    pub operation: String,
    pub idempotency_key: String,
    pub calls: i32,
    pub answers: i32,
    pub provider_id: Option<String>,
    pub last_error: Option<String>,
    pub first_called_at: DateTime<Utc>,
    pub last_called_at: DateTime<Utc>,
    pub settled_at: Option<DateTime<Utc>>,
}

/// Where a page ended.
#[derive(Debug, Clone, Copy)]
pub struct After {
    pub created_at: DateTime<Utc>,
    pub order: OrderId,
}

/// One payment.
pub async fn payment(pool: &PgPool, order: OrderId) -> Result<Option<PaymentRow>, sqlx::Error> {
    sqlx::query_as(concat!(shown!(), " where order_id = $1"))
        .bind(order.0)
        .fetch_optional(pool)
        .await
}

// The end of every list: the page after a place, newest first.
macro_rules! page {
    () => {
        " and ($2::timestamptz is null or (created_at, order_id) < ($2, $3))
          order by created_at desc, order_id desc limit $4"
    };
}

/// A page of payments, newest first.
///
/// A statement for each kind of filter, so that each is served by its own index however rare the state is.
pub async fn payments(
    pool: &PgPool,
    state: Option<State>,
    after: Option<After>,
    limit: i64,
) -> Result<Vec<PaymentRow>, sqlx::Error> {
    let statement = match state {
        None => concat!(shown!(), " where $1::text is null", page!()),
        Some(State::Unknown) => concat!(
            shown!(),
            " where order_id in (select order_id from operations where settled_at is null) and state = $1",
            page!()
        ),
        Some(_) => concat!(shown!(), " where standing = $1 and state = $1", page!()),
    };
    sqlx::query_as(statement)
        .bind(state.map(State::name))
        .bind(after.map(|after| after.created_at))
        .bind(after.map(|after| after.order.0))
        .bind(limit)
        .fetch_all(pool)
        .await
}

/// The operations of these orders, in the order in which they were first called.
pub async fn operations(pool: &PgPool, orders: &[Uuid]) -> Result<Vec<OperationRow>, sqlx::Error> {
    sqlx::query_as(
        "select * from operations where order_id = any($1) order by order_id, first_called_at",
    )
    .bind(orders)
    .fetch_all(pool)
    .await
}

/// How many payments are in the state `unknown`.
pub async fn unknown(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "select count(distinct p.order_id) from operations o join payments p on p.order_id = o.order_id
         where o.settled_at is null and o.calls > o.answers and p.standing in ('created', 'authorized', 'captured')",
    )
    .fetch_one(pool)
    .await
}
