//! Reads for the API.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgPool, Postgres, QueryBuilder};
use uuid::Uuid;

use crate::domain::Status;

/// A notification as it is shown.
#[derive(Debug, Clone, FromRow)]
#[allow(missing_docs, reason = "the columns of the table, explained there")]
pub struct Row {
    pub id: Uuid,
    pub order_id: Uuid,
    pub channel: String,
    pub recipient: String,
    pub template: String,
    pub subject: String,
    pub status: String,
    pub attempts: i32,
    pub error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub sent_at: Option<DateTime<Utc>>,
}

/// Which notifications a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// To this address only, in whatever case.
    pub recipient: Option<String>,
    /// Of this order only.
    pub order: Option<Uuid>,
    /// With this status only.
    pub status: Option<Status>,
}

const COLUMNS: &str = "select id, order_id, channel, recipient, template, subject, status, attempts, error, \
     created_at, sent_at from notification_log";

/// The notification, if there is one.
///
/// # Errors
/// The database's.
pub async fn find(pool: &PgPool, id: Uuid) -> Result<Option<Row>, sqlx::Error> {
    QueryBuilder::new(COLUMNS)
        .push(" where id = ")
        .push_bind(id)
        .build_query_as()
        .fetch_optional(pool)
        .await
}

/// Up to `limit` notifications, newest first, that are older than `before`.
///
/// # Errors
/// The database's.
pub async fn list(
    pool: &PgPool,
    filter: &Filter,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    let mut query = QueryBuilder::<Postgres>::new(COLUMNS);
    query.push(" where true");
    if let Some(recipient) = &filter.recipient {
        query
            .push(" and lower(recipient) = lower(")
            .push_bind(recipient)
            .push(")");
    }
    if let Some(order) = filter.order {
        query.push(" and order_id = ").push_bind(order);
    }
    match filter.status {
        // As the partial index has it.
        Some(Status::Pending) => {
            query.push(" and status = 'pending'");
        }
        Some(status) => {
            query.push(" and status = ").push_bind(status.as_str());
        }
        None => {}
    }
    if let Some(before) = before {
        query.push(" and id < ").push_bind(before);
    }
    query.push(" order by id desc limit ").push_bind(limit);
    query.build_query_as().fetch_all(pool).await
}
