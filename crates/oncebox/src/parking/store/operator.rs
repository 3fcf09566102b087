//! What an operator asks and orders. An order changes a row; the owner of the partition finds it.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use crate::parking::{Lane, ParkedError, ParkedKey, ParkedPlace};

pub(crate) async fn keys(
    pool: &PgPool,
    consumer: &str,
    limit: i64,
) -> Result<Vec<ParkedKey>, sqlx::Error> {
    #[derive(sqlx::FromRow)]
    struct Row {
        topic: String,
        partition: i32,
        lane: Uuid,
        key: Option<Vec<u8>>,
        depth: i64,
        attempts: i32,
        next_attempt_at: DateTime<Utc>,
        first_failed_at: Option<DateTime<Utc>>,
        error_class: Option<String>,
        error_code: Option<String>,
        error_message: Option<String>,
        held_for: Option<Uuid>,
        waits_for: Option<i64>,
        waits_until: Option<DateTime<Utc>>,
    }
    let rows: Vec<Row> = sqlx::query_as(
        r#"select topic, "partition", lane, key, attempts, next_attempt_at, first_failed_at,
                  error_class, error_code, error_message, held_for,
                  waits_for, waits_until,
                  (select count(*) from oncebox.parked as parked
                   where parked.consumer = keys.consumer and parked.topic = keys.topic
                     and parked."partition" = keys."partition" and parked.lane = keys.lane) as depth
           from (select * from oncebox.parked_keys where consumer = $1
                 order by (held_for is not null), next_attempt_at, topic, "partition", lane limit $2) as keys
           order by (held_for is not null), next_attempt_at, topic, "partition", lane"#,
    )
    .bind(consumer)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    let key = |row: Row| ParkedKey {
        place: ParkedPlace {
            topic: row.topic,
            partition: row.partition,
            lane: Lane(row.lane),
        },
        key: row.key.map(Bytes::from),
        depth: row.depth.max(0).unsigned_abs(),
        attempts: row.attempts.max(0).unsigned_abs(),
        next_attempt_at: row.next_attempt_at,
        first_failed_at: row.first_failed_at,
        last_error: row.error_code.map(|code| ParkedError {
            class: row.error_class.unwrap_or_default(),
            code,
            message: row.error_message.unwrap_or_default(),
        }),
        held_for: row.held_for,
        waits_for: row.waits_for.map(i64::unsigned_abs),
        waits_until: row.waits_until,
    };
    Ok(rows.into_iter().map(key).collect())
}

pub(crate) async fn retry_now(
    pool: &PgPool,
    consumer: &str,
    place: &ParkedPlace,
) -> Result<bool, sqlx::Error> {
    order(
        pool,
        r#"update oncebox.parked_keys set next_attempt_at = clock_timestamp()
           where consumer = $1 and topic = $2 and "partition" = $3 and lane = $4 and held_for is null"#,
        consumer,
        place,
    )
    .await
}

pub(crate) async fn doom(
    pool: &PgPool,
    consumer: &str,
    place: &ParkedPlace,
) -> Result<bool, sqlx::Error> {
    order(
        pool,
        r#"update oncebox.parked_keys as keys set doomed = first.event_id, next_attempt_at = clock_timestamp()
           from (select event_id from oncebox.parked
                 where consumer = $1 and topic = $2 and "partition" = $3 and lane = $4
                 order by sequence nulls first, seq limit 1) as first
           where keys.consumer = $1 and keys.topic = $2 and keys."partition" = $3 and keys.lane = $4
             and keys.held_for is null"#,
        consumer,
        place,
    )
    .await
}

pub(crate) async fn release(
    pool: &PgPool,
    consumer: &str,
    place: &ParkedPlace,
) -> Result<bool, sqlx::Error> {
    order(
        pool,
        r#"update oncebox.parked_keys set held_for = null, next_attempt_at = clock_timestamp()
           where consumer = $1 and topic = $2 and "partition" = $3 and lane = $4 and held_for is not null"#,
        consumer,
        place,
    )
    .await
}

/// Carries out a statement that is addressed to one key; whether it met it.
async fn order(
    pool: &PgPool,
    sql: &'static str,
    consumer: &str,
    place: &ParkedPlace,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(sql)
        .bind(consumer)
        .bind(&place.topic)
        .bind(place.partition)
        .bind(place.lane.as_uuid())
        .execute(pool)
        .await?;
    Ok(done.rows_affected() > 0)
}
