//! What a partition's owner asks and says about its parked keys.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{MESSAGE_LIMIT, count_of};
use crate::failure::{ErrorClass, Failure};
use crate::headers::Headers;
use crate::ownership::Place;
use crate::parking::OnDeadLetter;
use crate::parking::decide::{LaneEnd, settle};
use crate::parking::lane::Lane;
use crate::record::Record;

/// Code of a record that an operator gave up.
pub(crate) const GIVEN_UP: &str = "parking.given_up";

/// All parked keys of a partition, and how many records they have.
pub(crate) async fn load(
    pool: &PgPool,
    place: Place<'_>,
) -> Result<(BTreeSet<Lane>, i64), sqlx::Error> {
    let lanes: Vec<Uuid> = sqlx::query_scalar(
        r#"select lane from oncebox.parked_keys where consumer = $1 and topic = $2 and "partition" = $3"#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(place.partition)
    .fetch_all(pool)
    .await?;
    if lanes.is_empty() {
        return Ok((BTreeSet::new(), 0));
    }
    let records: i64 = sqlx::query_scalar(
        r#"select count(*) from oncebox.parked where consumer = $1 and topic = $2 and "partition" = $3"#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(place.partition)
    .fetch_one(pool)
    .await?;
    Ok((lanes.into_iter().map(Lane).collect(), records))
}

/// A parked key that is not held.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Due {
    lane: Uuid,
    attempts: i32,
    pub(crate) first_failed_at: Option<DateTime<Utc>>,
    /// The event that an operator gave up.
    pub(crate) doomed: Option<Uuid>,
    pub(crate) error_code: Option<String>,
    pub(crate) error_message: Option<String>,
    /// The sequence that is missing before its first record.
    pub(crate) waits_for: Option<i64>,
    /// Milliseconds until it is due, by the database's clock.
    wait: i64,
}

impl Due {
    pub(crate) fn lane(&self) -> Lane {
        Lane(self.lane)
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.attempts.max(0).unsigned_abs()
    }

    pub(crate) fn wait(&self) -> Duration {
        Duration::from_millis(self.wait.max(0).unsigned_abs())
    }
}

/// The keys that are due next, the most urgent first: a bounded number of them.
pub(crate) async fn due(pool: &PgPool, place: Place<'_>) -> Result<Vec<Due>, sqlx::Error> {
    sqlx::query_as(
        r#"select lane, attempts, first_failed_at, doomed, error_code, error_message, waits_for,
                  ceil(extract(epoch from next_attempt_at - clock_timestamp()) * 1000)::bigint as wait
           from oncebox.parked_keys
           where consumer = $1 and topic = $2 and "partition" = $3 and held_for is null
           order by next_attempt_at limit 100"#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(place.partition)
    .fetch_all(pool)
    .await
}

/// A parked record.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) seq: i64,
    pub(crate) event_id: Uuid,
    /// Its place in its key's order, where that is not the order of arrival.
    pub(crate) sequence: Option<i64>,
    pub(crate) record: Record,
}

/// The first records of a key, in order: at most so many, and of so many bytes, but at least one.
pub(crate) async fn head(
    pool: &PgPool,
    place: Place<'_>,
    lane: Lane,
    most: usize,
    most_bytes: usize,
) -> Result<Vec<Head>, sqlx::Error> {
    #[derive(sqlx::FromRow)]
    struct Row {
        seq: i64,
        event_id: Uuid,
        sequence: Option<i64>,
        offset: i64,
        key: Option<Vec<u8>>,
        payload: Option<Vec<u8>>,
        headers: serde_json::Value,
        timestamp: Option<DateTime<Utc>>,
    }
    let rows: Vec<Row> = sqlx::query_as(
        r#"select seq, event_id, sequence, "offset", key, payload, headers, "timestamp"
           from (select *, sum(coalesce(octet_length(payload), 0) + pg_column_size(headers)) over ordered as bytes,
                        row_number() over ordered as position
                 from (select * from oncebox.parked
                       where consumer = $1 and topic = $2 and "partition" = $3 and lane = $4
                       order by sequence nulls first, seq limit $5) as first
                 window ordered as (order by sequence nulls first, seq)) as sized
           where position = 1 or bytes <= $6
           order by sequence nulls first, seq"#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(place.partition)
    .bind(lane.as_uuid())
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .bind(i64::try_from(most_bytes).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await?;
    let head = |row: Row| {
        // Written by this kit alone; a hand that spoilt it is an error, not a record without headers.
        let headers = Headers::from_json(&row.headers)
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        Ok(Head {
            seq: row.seq,
            event_id: row.event_id,
            sequence: row.sequence,
            record: Record {
                topic: place.topic.to_owned(),
                partition: place.partition,
                offset: row.offset,
                timestamp: row.timestamp,
                key: row.key.map(Bytes::from),
                value: row.payload.map(Bytes::from),
                headers,
            },
        })
    };
    rows.into_iter().map(head).collect()
}

/// Counts one more failed attempt of a key's first record.
pub(crate) async fn postpone(
    tx: &mut PgConnection,
    place: Place<'_>,
    lane: Lane,
    attempts: u32,
    failure: &Failure,
    delay: Duration,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        r#"update oncebox.parked_keys
           set attempts = $5, first_failed_at = coalesce(first_failed_at, clock_timestamp()),
               last_failed_at = clock_timestamp(), next_attempt_at = clock_timestamp() + $6 * interval '1 millisecond',
               error_class = $7, error_code = $8, error_message = $9, waits_for = null, waits_until = null
           where consumer = $1 and topic = $2 and "partition" = $3 and lane = $4"#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(place.partition)
    .bind(lane.as_uuid())
    .bind(count_of(attempts))
    .bind(delay.as_millis() as f64)
    .bind(failure.class.as_str())
    .bind(failure.code)
    .bind(crate::dead_letter::cut(&failure.message, MESSAGE_LIMIT))
    .execute(tx)
    .await?;
    Ok(())
}

/// Removes these of a key's records, by their numbers, in the transaction that finished them, and says what becomes of the key. Second
/// value: how many were removed.
///
/// `buried`: the last dead letter among them.
pub(crate) async fn finish_head(
    tx: &mut PgConnection,
    place: Place<'_>,
    lane: Lane,
    rows: &[i64],
    buried: Option<Uuid>,
    policy: OnDeadLetter,
) -> Result<(LaneEnd, u64), sqlx::Error> {
    let removed = sqlx::query(
        r#"delete from oncebox.parked
           where consumer = $1 and topic = $2 and "partition" = $3 and lane = $4 and seq = any($5)"#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(place.partition)
    .bind(lane.as_uuid())
    .bind(rows)
    .execute(&mut *tx)
    .await?
    .rows_affected();
    // The lock first, the question after it: a statement that did both would not see what was parked while it waited.
    sqlx::query(
        r#"select 1 from oncebox.parked_keys
           where consumer = $1 and topic = $2 and "partition" = $3 and lane = $4 for update"#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(place.partition)
    .bind(lane.as_uuid())
    .execute(&mut *tx)
    .await?;
    let more: bool = sqlx::query_scalar(
        r#"select exists (select from oncebox.parked
                          where consumer = $1 and topic = $2 and "partition" = $3 and lane = $4)"#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(place.partition)
    .bind(lane.as_uuid())
    .fetch_one(&mut *tx)
    .await?;
    let end = settle(more, buried.is_some(), policy);
    if end == LaneEnd::Gone {
        sqlx::query(
            r#"delete from oncebox.parked_keys
               where consumer = $1 and topic = $2 and "partition" = $3 and lane = $4"#,
        )
        .bind(place.consumer)
        .bind(place.topic)
        .bind(place.partition)
        .bind(lane.as_uuid())
        .execute(tx)
        .await?;
        return Ok((end, removed));
    }
    sqlx::query(
        r#"update oncebox.parked_keys
           set attempts = 0, first_failed_at = null, last_failed_at = null, next_attempt_at = clock_timestamp(),
               error_class = null, error_code = null, error_message = null, doomed = null, held_for = $5,
               waits_for = null, waits_until = null
           where consumer = $1 and topic = $2 and "partition" = $3 and lane = $4"#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(place.partition)
    .bind(lane.as_uuid())
    .bind(if end == LaneEnd::Held { buried } else { None })
    .execute(tx)
    .await?;
    Ok((end, removed))
}

/// Lets keys go on that are held for one of these events, in the transaction of the replay that processed them.
pub(crate) async fn release_replayed(
    tx: &mut PgConnection,
    consumer: &str,
    events: &[Uuid],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update oncebox.parked_keys set held_for = null, next_attempt_at = clock_timestamp()
         where consumer = $1 and held_for = any($2)",
    )
    .bind(consumer)
    .bind(events)
    .execute(tx)
    .await?;
    Ok(())
}

/// The failure of a record that an operator gave up.
pub(crate) fn doomed_failure(due: &Due) -> Failure {
    let message = match (&due.error_code, &due.error_message) {
        (Some(code), Some(message)) => {
            format!("given up by an operator; it failed last with {code}: {message}")
        }
        _ => "given up by an operator before it was tried from the parking".to_owned(),
    };
    Failure::new(ErrorClass::Permanent, GIVEN_UP, message)
}
