//! Failed attempts in place, counted by topic, partition and offset in the database: neither a restart nor a rebalance
//! nor the success of another partition resets or multiplies them. A parked record's count goes on in the parking.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::failure::Failure;
use crate::ownership::Place;
use crate::record::Record;

/// Longest error message that is kept.
const MESSAGE_LIMIT: usize = 4 * 1024;

/// What is known of a record that failed before.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Attempted {
    pub(crate) event_id: Uuid,
    pub(crate) attempts: i32,
    pub(crate) first_failed_at: DateTime<Utc>,
}

/// The records of a partition that have failed attempts, by offset: usually none, rarely more than one.
pub(crate) async fn load(
    pool: &PgPool,
    place: Place<'_>,
) -> Result<BTreeMap<i64, Attempted>, sqlx::Error> {
    #[derive(sqlx::FromRow)]
    struct Row {
        offset: i64,
        #[sqlx(flatten)]
        attempted: Attempted,
    }
    let rows: Vec<Row> = sqlx::query_as(
        r#"select "offset", event_id, attempts, first_failed_at
           from oncebox.attempts where consumer = $1 and topic = $2 and "partition" = $3"#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(place.partition)
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.offset, row.attempted))
        .collect())
}

/// Counts one more failed attempt, which is followed by another at once. None when the partition is somebody else's.
pub(crate) async fn count(
    pool: &PgPool,
    place: Place<'_>,
    epoch: i64,
    record: &Record,
    event_id: Uuid,
    failure: &Failure,
) -> Result<Option<Attempted>, sqlx::Error> {
    // Another event id at the same offset means that the topic was made anew: its count begins anew.
    sqlx::query_as(
        r#"insert into oncebox.attempts as present
               (consumer, topic, "partition", "offset", event_id, attempts, first_failed_at, last_failed_at,
                next_attempt_at, error_class, error_code, error_message)
           select $1, $2, $3, $4, $5, 1, clock_timestamp(), clock_timestamp(), clock_timestamp(), $6, $7, $8
           from (select from oncebox.ownership
                 where consumer = $1 and topic = $2 and "partition" = $3 and epoch = $9 for share) as owned
           on conflict (consumer, topic, "partition", "offset") do update set
               attempts = case when present.event_id = excluded.event_id then present.attempts + 1 else 1 end,
               first_failed_at = case when present.event_id = excluded.event_id
                   then present.first_failed_at else excluded.first_failed_at end,
               event_id = excluded.event_id,
               last_failed_at = excluded.last_failed_at,
               next_attempt_at = excluded.next_attempt_at,
               error_class = excluded.error_class,
               error_code = excluded.error_code,
               error_message = excluded.error_message
           returning event_id, attempts, first_failed_at"#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(place.partition)
    .bind(record.offset)
    .bind(event_id)
    .bind(failure.class.as_str())
    .bind(failure.code)
    .bind(crate::dead_letter::cut(&failure.message, MESSAGE_LIMIT))
    .bind(epoch)
    .fetch_optional(pool)
    .await
}

/// Forgets the attempts of records that are finished, in the transaction that finishes them.
pub(crate) async fn forget(
    tx: &mut PgConnection,
    place: Place<'_>,
    offsets: &[i64],
) -> Result<(), sqlx::Error> {
    if offsets.is_empty() {
        return Ok(());
    }
    sqlx::query(
        r#"delete from oncebox.attempts
           where consumer = $1 and topic = $2 and "partition" = $3 and "offset" = any($4)"#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(place.partition)
    .bind(offsets)
    .execute(tx)
    .await?;
    Ok(())
}
