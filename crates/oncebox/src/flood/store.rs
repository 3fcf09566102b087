//! The guard's row of a partition.

use std::time::Duration;

use sqlx::{PgConnection, PgPool};

use super::guard::Kept;
use crate::ownership::Place;

/// What an earlier owner kept.
pub(crate) async fn load(pool: &PgPool, place: Place<'_>) -> Result<Option<Kept>, sqlx::Error> {
    #[derive(sqlx::FromRow)]
    struct Row {
        revision: i64,
        window_left: f64,
        successes: i64,
        spent: i64,
        closed_time: Option<f64>,
        closed_for: Option<String>,
        calm_in: Option<f64>,
    }
    let row: Option<Row> = sqlx::query_as(
        r#"select revision, successes, spent, closed_for,
                  extract(epoch from window_ends_at - clock_timestamp())::float8 as window_left,
                  extract(epoch from clock_timestamp() - closed_at)::float8 as closed_time,
                  extract(epoch from calm_from - clock_timestamp())::float8 as calm_in
           from oncebox.flood_guard where consumer = $1 and topic = $2 and "partition" = $3"#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(place.partition)
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| Kept {
        revision: row.revision,
        window_left: seconds(row.window_left),
        successes: row.successes.max(0).unsigned_abs(),
        spent: row.spent.max(0).unsigned_abs(),
        closed: row
            .closed_time
            .map(|time| (seconds(time), row.closed_for.unwrap_or_default())),
        calm_in: row.calm_in.map(seconds).filter(|time| !time.is_zero()),
    }))
}

/// Writes it, in a transaction that has checked the ownership. An older revision than the one there changes nothing.
pub(crate) async fn save(
    tx: &mut PgConnection,
    place: Place<'_>,
    kept: &Kept,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        r#"insert into oncebox.flood_guard as present
               (consumer, topic, "partition", revision, window_ends_at, successes, spent, closed_at, closed_for, calm_from)
           values ($1, $2, $3, $4, clock_timestamp() + $5 * interval '1 second', $6, $7,
                   clock_timestamp() - $8 * interval '1 second', $9, clock_timestamp() + $10 * interval '1 second')
           on conflict (consumer, topic, "partition") do update
               set revision = excluded.revision, window_ends_at = excluded.window_ends_at,
                   successes = excluded.successes, spent = excluded.spent, closed_at = excluded.closed_at,
                   closed_for = excluded.closed_for, calm_from = excluded.calm_from
               where present.revision < excluded.revision"#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(place.partition)
    .bind(kept.revision)
    .bind(kept.window_left.as_secs_f64())
    .bind(i64::try_from(kept.successes).unwrap_or(i64::MAX))
    .bind(i64::try_from(kept.spent).unwrap_or(i64::MAX))
    .bind(kept.closed.as_ref().map(|(time, _)| time.as_secs_f64()))
    .bind(kept.closed.as_ref().map(|(_, code)| code.as_str()))
    .bind(kept.calm_in.map(|time| time.as_secs_f64()))
    .execute(tx)
    .await?;
    Ok(())
}

/// A year at most: what a hand has written must not overflow.
fn seconds(value: f64) -> Duration {
    Duration::from_secs_f64(value.clamp(0.0, 31_536_000.0))
}
