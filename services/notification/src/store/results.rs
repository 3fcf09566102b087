//! What became of messages: stored as soon as it is known, announced once.

use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use crate::domain::Status;

/// The end of one try to send.
#[derive(Debug, Clone)]
pub struct Tried {
    /// The notification.
    pub id: Uuid,
    /// What it is from now on.
    pub status: Status,
    /// Whether the try counts; one that met an outage does not.
    pub counted: bool,
    /// What was in the way.
    pub error: Option<String>,
}

/// Stores the ends of tries of different notifications. One that is finished already stays as it is.
///
/// # Errors
/// The database's.
pub async fn store(pool: &PgPool, tries: &[Tried]) -> Result<(), sqlx::Error> {
    if tries.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update notification_log n
         set status = t.status, attempts = n.attempts + t.counted, error = t.error,
             sent_at = case when t.status = 'sent' then clock_timestamp() end
         from unnest($1::uuid[], $2::text[], $3::int[], $4::text[]) as t (id, status, counted, error)
         where n.id = t.id and n.status = 'pending'",
    )
    .bind(tries.iter().map(|tried| tried.id).collect::<Vec<_>>())
    .bind(
        tries
            .iter()
            .map(|tried| tried.status.as_str())
            .collect::<Vec<_>>(),
    )
    .bind(
        tries
            .iter()
            .map(|tried| i32::from(tried.counted))
            .collect::<Vec<_>>(),
    )
    .bind(
        tries
            .iter()
            .map(|tried| tried.error.as_deref())
            .collect::<Vec<_>>(),
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// A notification of an order in hand.
#[derive(Debug, Clone, FromRow)]
#[allow(missing_docs, reason = "the columns of the table, explained there")]
pub struct Ended {
    pub id: Uuid,
    pub order_id: Uuid,
    pub channel: String,
    pub recipient: String,
    pub template: String,
    pub status: String,
    pub error: Option<String>,
    pub announced: bool,
}

/// Locks and reads the notifications of these orders.
///
/// # Errors
/// The database's.
pub async fn lock(tx: &mut PgConnection, orders: &[Uuid]) -> Result<Vec<Ended>, sqlx::Error> {
    // By id, so that two batches with the same orders lock them in the same order.
    sqlx::query_as(
        "select id, order_id, channel, recipient, template, status, error, announced_at is not null as announced
         from notification_log where order_id = any($1) order by id for update",
    )
    .bind(orders)
    .fetch_all(tx)
    .await
}

/// Notes that the ends of these notifications were told of, in the transaction that holds the events.
///
/// # Errors
/// The database's.
pub async fn announced(tx: &mut PgConnection, ids: &[Uuid]) -> Result<(), sqlx::Error> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query("update notification_log set announced_at = clock_timestamp() where id = any($1)")
        .bind(ids)
        .execute(tx)
        .await?;
    Ok(())
}
