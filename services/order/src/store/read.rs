//! Reads for the API.

use chrono::{DateTime, Utc};
use schemas::order::OrderLine;
use sqlx::types::Json;
use sqlx::{FromRow, PgPool, Postgres, QueryBuilder};
use uuid::Uuid;

use super::locked::{UnreadableOrder, saga};
use crate::domain::saga::{Saga, Status, Verdict};

/// An order as it is shown.
#[derive(Debug, Clone, FromRow)]
#[allow(missing_docs, reason = "the columns of the table, explained there")]
pub struct OrderRow {
    pub order_id: Uuid,
    pub customer_id: String,
    pub status: String,
    pub verdict: String,
    pub stock: String,
    pub payment: String,
    pub currency: String,
    pub total_minor: i64,
    pub email: Option<String>,
    pub lines: Json<Vec<OrderLine>>,
    pub reason_code: Option<String>,
    pub reason: Option<String>,
    pub correlation: String,
    pub version: i64,
    pub placed_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub decided_at: Option<DateTime<Utc>>,
}

impl OrderRow {
    /// Where its saga stands.
    pub fn saga(&self) -> Result<Saga, UnreadableOrder> {
        saga(
            self.order_id,
            [&self.status, &self.verdict, &self.stock, &self.payment],
        )
    }
}

/// A step of an order as it is shown.
#[derive(Debug, Clone, FromRow)]
#[allow(missing_docs, reason = "the columns of the table, explained there")]
pub struct StepRow {
    pub entry: i64,
    pub step: String,
    pub status: String,
    pub detail: Option<String>,
    pub commands: Vec<String>,
    pub source: String,
    pub cause_event_id: Option<Uuid>,
    pub cause_type: Option<String>,
    pub correlation: String,
    pub trace_id: Option<String>,
    pub at: DateTime<Utc>,
}

/// Which orders a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this customer only.
    pub customer: Option<String>,
    /// With this status only.
    pub status: Option<Status>,
    /// With this verdict only.
    pub verdict: Option<Verdict>,
}

const COLUMNS: &str = "select order_id, customer_id, status, verdict, stock, payment, currency, total_minor, \
     email, lines, reason_code, reason, correlation, version, placed_at, updated_at, decided_at from orders";

/// The order, if there is one.
pub async fn find(pool: &PgPool, id: Uuid) -> Result<Option<OrderRow>, sqlx::Error> {
    QueryBuilder::new(COLUMNS)
        .push(" where order_id = ")
        .push_bind(id)
        .build_query_as()
        .fetch_optional(pool)
        .await
}

/// Up to `limit` orders, newest first, that are older than `before`.
pub async fn list(
    pool: &PgPool,
    filter: &Filter,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<OrderRow>, sqlx::Error> {
    let mut query = QueryBuilder::<Postgres>::new(COLUMNS);
    query.push(" where true");
    if let Some(customer) = &filter.customer {
        query.push(" and customer_id = ").push_bind(customer);
    }
    if let Some(status) = filter.status {
        // Every status belongs to a verdict, which has the index; the planner cannot know.
        query.push(match status {
            Status::Created | Status::Reserved | Status::Authorized => " and verdict = 'pending'",
            Status::Paid => " and verdict = 'confirmed'",
            Status::Cancelled => " and verdict in ('rejected', 'cancelled')",
        });
        query.push(" and status = ").push_bind(status.as_str());
    }
    if let Some(verdict) = filter.verdict {
        query.push(" and verdict = ").push_bind(verdict.as_str());
    }
    if let Some(before) = before {
        query.push(" and order_id < ").push_bind(before);
    }
    query
        .push(" order by order_id desc limit ")
        .push_bind(limit);
    query.build_query_as().fetch_all(pool).await
}

/// Every step of the order so far, in order. Empty when there is no such order.
pub async fn timeline(pool: &PgPool, id: Uuid) -> Result<Vec<StepRow>, sqlx::Error> {
    sqlx::query_as(
        "select entry, step, status, detail, commands, source, cause_event_id, cause_type, correlation, \
                trace_id, at \
         from order_timeline where order_id = $1 order by entry",
    )
    .bind(id)
    .fetch_all(pool)
    .await
}

/// Which of these orders have their verdict.
pub async fn decided(pool: &PgPool, ids: &[Uuid]) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "select order_id from orders where order_id = any($1) and verdict <> 'pending'",
    )
    .bind(ids)
    .fetch_all(pool)
    .await
}
