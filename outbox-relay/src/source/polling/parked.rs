//! The parking table: what the relay that has the source asks of it, one statement each.
//!
//! Only that relay parks and releases. Operators change states beside it (see [`super::desk`]) and leave a line in the
//! audit, by which the relay notices.

use std::time::Duration;

use uuid::Uuid;

use sqlx::{AssertSqlSafe, FromRow as _, PgConnection, Row as _};

use super::question::running;
use super::statements::Statements;
use crate::cursor::Cursor;
use crate::parking::{Park, Parked, Why};
use crate::shard::Shard;
use crate::source::{Due, Limits, Row, SourceError};

/// Pauses between attempts of a refused row double up to this power of the first.
const DOUBLINGS: i32 = 6;

/// From now on only this tenure parks. Before [`load`], which then sees whatever a predecessor parked.
pub(super) async fn claim(
    connection: &mut PgConnection,
    shard: Shard,
    writer: Uuid,
) -> Result<(), SourceError> {
    sqlx::query(
        "insert into oncebox.relay_fence (shard, writer) values ($1, $2)
         on conflict (shard) do update set writer = excluded.writer",
    )
    .bind(shard.number())
    .bind(writer)
    .execute(connection)
    .await?;
    Ok(())
}

/// What lies parked.
pub(super) async fn load(
    connection: &mut PgConnection,
    statements: &Statements,
    cursor: &Cursor,
) -> Result<Parked, SourceError> {
    let blocked = sqlx::query_as(AssertSqlSafe(statements.blocked.clone()))
        .fetch_all(&mut *connection)
        .await?;
    let rows = sqlx::query_scalar(AssertSqlSafe(statements.blocked_rows.clone()))
        .fetch_one(&mut *connection)
        .await?;
    let window = cursor.window.as_ref();
    let unpassed = sqlx::query_scalar(AssertSqlSafe(statements.unpassed.clone()))
        .bind(cursor.settled.xmax().to_string())
        .bind(running(&cursor.settled))
        .bind(window.map(|window| window.snapshot.to_string()))
        .bind(window.map(|window| window.position))
        .fetch_all(connection)
        .await?;
    Ok(Parked {
        blocked,
        rows,
        unpassed,
    })
}

/// Copies rows from the outbox. Repeated, it changes nothing.
pub(super) async fn park(
    connection: &mut PgConnection,
    statements: &Statements,
    rows: &[Park],
    first_pause: Duration,
    (shard, writer): (Shard, Uuid),
) -> Result<(), SourceError> {
    let (seqs, states, errors) = columns(rows);
    sqlx::query(AssertSqlSafe(statements.park.clone()))
        .bind(&seqs)
        .bind(states)
        .bind(errors)
        .bind(milliseconds(first_pause))
        .bind(writer)
        .bind(shard.number())
        .execute(&mut *connection)
        .await?;
    // The cursor passes these rows next: one that is not there would be lost.
    let (there, ours): (i64, bool) = sqlx::query_as(
        "select (select count(*) from oncebox.relay_parked where seq = any($1)),
                exists (select from oncebox.relay_fence where shard = $3 and writer = $2)",
    )
    .bind(&seqs)
    .bind(writer)
    .bind(shard.number())
    .fetch_one(connection)
    .await?;
    if !ours {
        return Err(SourceError::Ousted);
    }
    if usize::try_from(there) != Ok(seqs.len()) {
        return Err(SourceError::Unexpected(format!(
            "{there} of {} rows parked: others were deleted from the outbox before they were published",
            seqs.len()
        )));
    }
    Ok(())
}

pub(super) async fn due(
    connection: &mut PgConnection,
    statements: &Statements,
    limits: Limits,
    with_waiting: bool,
) -> Result<Due, SourceError> {
    // First: a row whose time comes between the two questions is then in both answers rather than in neither.
    let (next, audit): (Option<f64>, i64) =
        sqlx::query_as(AssertSqlSafe(statements.next_due.clone()))
            .fetch_one(&mut *connection)
            .await?;
    let found = sqlx::query(AssertSqlSafe(statements.due.clone()))
        .bind(limits.rows)
        .bind(limits.bytes)
        .bind(with_waiting)
        .fetch_all(connection)
        .await?;
    let mut due = Due {
        next: next.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()),
        audit,
        ..Due::default()
    };
    for row in &found {
        if row.try_get::<&str, _>("state")? == "delayed" {
            due.delayed.insert(row.try_get("seq")?);
        }
        due.rows.push(Row::from_row(row)?);
    }
    Ok(due)
}

/// Forgets rows that are published.
pub(super) async fn released(
    connection: &mut PgConnection,
    seqs: &[i64],
) -> Result<(), SourceError> {
    sqlx::query("delete from oncebox.relay_parked where seq = any($1)")
        .bind(seqs)
        .execute(connection)
        .await?;
    Ok(())
}

/// Puts rows off that were refused again, each for twice as long as before. What an operator gave up meanwhile stays so.
pub(super) async fn refused_again(
    connection: &mut PgConnection,
    refused: &[Park],
    first_pause: Duration,
) -> Result<(), SourceError> {
    let (seqs, states, errors) = columns(refused);
    sqlx::query(
        "update oncebox.relay_parked as parked
         set state = given.state, error = coalesce(given.error, parked.error), attempts = attempts + 1,
             next_attempt_at = clock_timestamp() + $4 * power(2, least(attempts, $5)) * interval '1 millisecond'
         from unnest($1::bigint[], $2::text[], $3::text[]) as given (seq, state, error)
         where parked.seq = given.seq and parked.state <> 'dead'",
    )
    .bind(seqs)
    .bind(states)
    .bind(errors)
    .bind(milliseconds(first_pause))
    .bind(DOUBLINGS)
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets rows that were skipped so long ago. Where there is no such table there is none to forget.
pub(super) async fn forget_dead(
    connection: &mut PgConnection,
    keep: Duration,
) -> Result<(), SourceError> {
    let forgotten = sqlx::query(
        "delete from oncebox.relay_parked
         where state = 'dead' and parked_at < clock_timestamp() - $1 * interval '1 second'",
    )
    .bind(keep.as_secs_f64())
    .execute(connection)
    .await
    .map_err(SourceError::from);
    match forgotten {
        Err(error) if !error.is_absent() => Err(error),
        _ => Ok(()),
    }
}

/// As columns, for a statement that takes all of them.
fn columns(rows: &[Park]) -> (Vec<i64>, Vec<&'static str>, Vec<Option<&str>>) {
    let (mut seqs, mut states, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        let (state, error) = match &row.why {
            Why::Refused(error) => ("refused", Some(error.as_str())),
            Why::Waiting => ("waiting", None),
            Why::Delayed => ("delayed", None),
            Why::Dead(error) => ("dead", Some(error.as_str())),
        };
        seqs.push(row.seq);
        states.push(state);
        errors.push(error);
    }
    (seqs, states, errors)
}

fn milliseconds(pause: Duration) -> f64 {
    pause.as_secs_f64() * 1000.0
}
