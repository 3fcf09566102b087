//! Dropping what has been published: whole partitions, never rows.
//!
//! Dropping a partition needs an exclusive lock on the outbox. It is waited for so briefly that a writer who queues
//! behind it does not notice, and tried again later; under it the check is repeated, since only then no transaction
//! can be under way that has put a row into the partition.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::question::running;
use crate::cursor::Snapshot;
use crate::source::{Maintained, SourceError};

/// How long writers may have to wait behind a lock that is asked for.
const LOCK_TIMEOUT_MS: u32 = 50;

/// A table whose rows may go, all of them or none.
#[derive(Debug, sqlx::FromRow)]
struct Candidate {
    name: String,
    /// The default partition is emptied, not dropped.
    is_default: bool,
}

/// Partitions of days that ended longer ago than the retention ($1, seconds), and the default partition if its last row is
/// older. Their names are the kit's own; others are left to whoever made them.
const CANDIDATES: &str = "
    select relname::text as name, relname = 'outbox_default' as is_default
    from pg_inherits join pg_class on pg_class.oid = inhrelid
    where inhparent = 'oncebox.outbox'::regclass
      and case when relname = 'outbox_default'
          then (select created_at from oncebox.outbox_default order by seq desc limit 1)
              < clock_timestamp() - $1 * interval '1 second'
          when relname ~ '^outbox_[0-9]{8}$'
          then (to_date(right(relname, 8), 'YYYYMMDD') + 1)::timestamp at time zone 'utc'
              <= clock_timestamp() - $1 * interval '1 second'
          else false end
    order by relname";

/// Drops every partition that is older than the retention and wholly published.
pub(super) async fn drop_passed(
    connection: &mut PgConnection,
    settled: &Snapshot,
    retention: Duration,
) -> Result<Maintained, SourceError> {
    sqlx::query("select oncebox.ensure_partitions()")
        .execute(&mut *connection)
        .await?;
    let candidates: Vec<Candidate> = sqlx::query_as(CANDIDATES)
        .bind(retention.as_secs_f64())
        .fetch_all(&mut *connection)
        .await?;
    let mut maintained = Maintained::default();
    for candidate in candidates {
        // The long look is taken without the lock.
        if holds_unpublished(connection, &candidate.name, settled).await? {
            continue;
        }
        match drop_one(connection, &candidate, settled).await {
            Ok(true) => maintained.dropped.push(candidate.name),
            Ok(false) => {}
            Err(SourceError::Database(error)) if is_busy(&error) => maintained.busy = true,
            Err(error) => return Err(error),
        }
    }
    (maintained.partitions, maintained.default_rows) = sqlx::query_as(
        "select (select count(*) from pg_inherits where inhparent = 'oncebox.outbox'::regclass),
                (select count(*) from (select 1 from oncebox.outbox_default limit 10000) as counted)",
    )
    .fetch_one(connection)
    .await?;
    Ok(maintained)
}

/// False when a row came in between the look and the lock.
async fn drop_one(
    connection: &mut PgConnection,
    candidate: &Candidate,
    settled: &Snapshot,
) -> Result<bool, SourceError> {
    let name = &candidate.name;
    let mut tx = connection.begin().await?;
    // The parent too: its writers lock it before they know their partition, and dropping needs it in any case.
    let lock = format!(
        "set local lock_timeout = {LOCK_TIMEOUT_MS};
         lock table oncebox.outbox, oncebox.{name} in access exclusive mode"
    );
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *tx).await?;
    if holds_unpublished(&mut tx, name, settled).await? {
        tx.rollback().await?;
        return Ok(false);
    }
    let remove = if candidate.is_default {
        format!("truncate oncebox.{name}")
    } else {
        format!("drop table oncebox.{name}")
    };
    sqlx::raw_sql(AssertSqlSafe(remove))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(true)
}

/// Whether the partition holds a row that the settled snapshot does not see: two probes of the index on (xid, seq).
async fn holds_unpublished(
    connection: &mut PgConnection,
    name: &str,
    settled: &Snapshot,
) -> Result<bool, SourceError> {
    let holds = sqlx::query_scalar(AssertSqlSafe(format!(
        "select exists (select 1 from oncebox.{name} where xid >= $1::text::xid8)
             or exists (select 1 from oncebox.{name} where xid = any($2::text[]::xid8[]))"
    )))
    .bind(settled.xmax().to_string())
    .bind(running(settled))
    .fetch_one(connection)
    .await?;
    Ok(holds)
}

/// lock_not_available, deadlock_detected (PostgreSQL documentation, appendix A): somebody works there, later then.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("55P03" | "40P01"))
}
