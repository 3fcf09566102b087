//! Which events a consumer has finished with: one row for each, written in the transaction of their effects.
//!
//! A row is `processed` or `dead`. A redelivered record finds its row and is left alone. Only a record from the
//! group's replay topic may turn `dead` into `processed`, once.

pub(crate) mod expiry;
pub(crate) mod positions;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// Of these events, those that the consumer need not handle any more. Read before the transaction, so that
/// preparing (calls to other systems) is not repeated for them; the transaction's own insert decides.
pub(crate) async fn finished(
    pool: &PgPool,
    consumer: &str,
    ids: &[Uuid],
    replayed: bool,
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "select event_id from oncebox.inbox
         where consumer = $1 and event_id = any($2) and (status = 'processed' or not $3)",
    )
    .bind(consumer)
    .bind(ids)
    .bind(replayed)
    .fetch_all(pool)
    .await?;
    Ok(ids.into_iter().collect())
}

/// Marks events as processed; returns those for which that was news. The others are somebody else's work, committed already.
pub(crate) async fn mark_processed(
    tx: &mut PgConnection,
    consumer: &str,
    ids: &[Uuid],
    replayed: bool,
) -> Result<HashSet<Uuid>, sqlx::Error> {
    // Sorted: two consumers that meet at the same events wait for each other instead of deadlocking.
    let sql = if replayed {
        "insert into oncebox.inbox as present (consumer, event_id, status)
         select $1, id, 'processed' from unnest($2::uuid[]) as id order by id
         on conflict (consumer, event_id) do update
             set status = 'processed', handled_at = clock_timestamp()
             where present.status = 'dead'
         returning event_id"
    } else {
        "insert into oncebox.inbox (consumer, event_id, status)
         select $1, id, 'processed' from unnest($2::uuid[]) as id order by id
         on conflict (consumer, event_id) do nothing
         returning event_id"
    };
    let ids: Vec<Uuid> = sqlx::query_scalar(sql)
        .bind(consumer)
        .bind(ids)
        .fetch_all(tx)
        .await?;
    Ok(ids.into_iter().collect())
}

/// An event that is being given up.
#[derive(Debug)]
pub(crate) struct Dying {
    pub(crate) event_id: Uuid,
    pub(crate) attempts: u32,
    pub(crate) first_failed_at: DateTime<Utc>,
}

/// Marks events as dead; returns those for which a dead letter is due, with the time of their very first failure.
pub(crate) async fn mark_dead(
    tx: &mut PgConnection,
    consumer: &str,
    dying: &[Dying],
    replayed: bool,
) -> Result<HashMap<Uuid, DateTime<Utc>>, sqlx::Error> {
    let ids: Vec<Uuid> = dying.iter().map(|dying| dying.event_id).collect();
    let attempts: Vec<i32> = dying
        .iter()
        .map(|dying| i32::try_from(dying.attempts).unwrap_or(i32::MAX))
        .collect();
    let first: Vec<DateTime<Utc>> = dying.iter().map(|dying| dying.first_failed_at).collect();
    // A replay that fails again is a dead letter again, whose first failure stays the first.
    let rows: Vec<(Uuid, DateTime<Utc>)> = sqlx::query_as(
        "insert into oncebox.inbox as present (consumer, event_id, status, attempts, first_failed_at)
         select $1, id, 'dead', attempts, first_failed_at
         from unnest($2::uuid[], $3::integer[], $4::timestamptz[]) as dying (id, attempts, first_failed_at)
         order by id
         on conflict (consumer, event_id) do update
             set attempts = present.attempts + excluded.attempts,
                 first_failed_at = coalesce(present.first_failed_at, excluded.first_failed_at),
                 handled_at = clock_timestamp()
             where $5 and present.status = 'dead'
         returning event_id, first_failed_at",
    )
    .bind(consumer)
    .bind(ids)
    .bind(attempts)
    .bind(first)
    .bind(replayed)
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().collect())
}

/// Notes that these were dead-lettered because nothing is known of them: their dead rows prove nothing.
pub(crate) async fn mark_refused(
    tx: &mut PgConnection,
    consumer: &str,
    ids: &[Uuid],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into oncebox.inbox_refused (consumer, event_id) select $1, id from unnest($2::uuid[]) as id
         on conflict (consumer, event_id) do update set refused_at = clock_timestamp()",
    )
    .bind(consumer)
    .bind(ids)
    .execute(tx)
    .await?;
    Ok(())
}
