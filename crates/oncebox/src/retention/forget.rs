//! Forgetting: old days as a whole, old rows of the default partition one by one.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{InboxUpkeep, is_busy};

/// Rows of an old day that were handled within the retention: that many move to the default partition when the day is
/// dropped, in less time than anybody notices. A day with more waits.
const MOST_LATE: i64 = 1_000;
/// How often the locks are asked for, and how long others are left alone in between.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(700);
/// Rows that one statement deletes.
const AT_ONCE: i64 = 5_000;
/// Statements of one round; what is left then waits for the next.
const STATEMENTS: u32 = 2_000;

/// Forgets what was handled before now minus the retention, by the database's clock.
pub(super) async fn forget(
    connection: &mut PgConnection,
    retention: Duration,
    upkeep: &mut InboxUpkeep,
) -> Result<(), sqlx::Error> {
    let before: DateTime<Utc> =
        sqlx::query_scalar("select clock_timestamp() - make_interval(secs => $1)")
            .bind(retention.as_secs_f64())
            .fetch_one(&mut *connection)
            .await?;
    // Their names are the kit's own; others are left to whoever made them.
    let old: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_inherits join pg_class on pg_class.oid = inhrelid
         where inhparent = 'oncebox.inbox'::regclass and relname ~ '^inbox_[0-9]{8}$'
           and (to_date(right(relname, 8), 'YYYYMMDD') + 1)::timestamp at time zone 'utc' <= $1
         order by relname",
    )
    .bind(before)
    .fetch_all(&mut *connection)
    .await?;
    for name in old {
        match drop_patiently(connection, &name, before).await {
            Ok(true) => upkeep.dropped.push(name),
            Ok(false) => {}
            Err(error) if is_busy(&error) => upkeep.busy = true,
            Err(error) => return Err(error),
        }
    }
    upkeep.deleted = delete_from_default(connection, before).await?;
    sqlx::query("delete from oncebox.inbox_refused where refused_at < $1")
        .bind(before)
        .execute(connection)
        .await?;
    Ok(())
}

/// Asks for the locks a few times: a vacuum gives way within a second.
async fn drop_patiently(
    connection: &mut PgConnection,
    name: &str,
    before: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let mut tries = 1;
    loop {
        match drop_day(connection, name, before).await {
            Err(error) if is_busy(&error) && tries < TRIES => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            done => return done,
        }
    }
}

/// Drops a day; false when too much of it was handled within the retention.
async fn drop_day(
    connection: &mut PgConnection,
    name: &str,
    before: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    // The long look is taken without a lock.
    let late = format!(
        "select count(*) from (select 1 from oncebox.{name} where handled_at >= $1 limit {MOST_LATE} + 1) as late"
    );
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(late.clone()))
        .bind(before)
        .fetch_one(&mut *connection)
        .await?;
    if count > MOST_LATE {
        return Ok(false);
    }
    index(connection, name).await?;

    let mut tx = connection.begin().await?;
    let lock = format!(
        "set local lock_timeout = '50ms';
         lock table only oncebox.inbox, only oncebox.{name} in access exclusive mode;
         set local enable_seqscan = off"
    );
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *tx).await?;
    // Nobody is at work in it now: what came in since the look is seen, and nothing more can come.
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(late))
        .bind(before)
        .fetch_one(&mut *tx)
        .await?;
    if count > MOST_LATE {
        tx.rollback().await?;
        return Ok(false);
    }
    let detach = format!("alter table oncebox.inbox detach partition oncebox.{name}");
    sqlx::raw_sql(AssertSqlSafe(detach))
        .execute(&mut *tx)
        .await?;
    if count > 0 {
        let columns = "consumer, event_id, status, handled_at, attempts, first_failed_at";
        let keep = format!(
            "insert into oncebox.inbox ({columns}) select {columns} from oncebox.{name} where handled_at >= $1"
        );
        sqlx::query(AssertSqlSafe(keep))
            .bind(before)
            .execute(&mut *tx)
            .await?;
    }
    note(&mut tx, before).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("drop table oncebox.{name}")))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(true)
}

/// An index by which the look under the lock takes no time. It is small, made beside running handlers, and goes with
/// the partition; one that could not be finished is made anew.
async fn index(connection: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    // Waits for every transaction that is older: not for ever.
    execute(connection, "set statement_timeout = '60s'".to_owned()).await?;
    let mut done = Ok(());
    // One statement each: neither may be inside a transaction.
    for sql in [
        format!("drop index concurrently if exists oncebox.{name}_handled_at"),
        format!(
            "create index concurrently {name}_handled_at on oncebox.{name}
             using brin (handled_at) with (pages_per_range = 16)"
        ),
    ] {
        done = execute(connection, sql).await;
        if done.is_err() {
            break;
        }
    }
    execute(connection, "reset statement_timeout".to_owned()).await?;
    done
}

async fn execute(connection: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await?;
    Ok(())
}

async fn delete_from_default(
    connection: &mut PgConnection,
    before: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let mut deleted = 0;
    for _ in 0..STATEMENTS {
        let mut tx = connection.begin().await?;
        let rows = sqlx::query(
            "delete from oncebox.inbox_default where ctid = any(array(
                 select ctid from oncebox.inbox_default where handled_at < $1 order by handled_at limit $2))",
        )
        .bind(before)
        .bind(AT_ONCE)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if rows == 0 {
            tx.rollback().await?;
            break;
        }
        note(&mut tx, before).await?;
        tx.commit().await?;
        deleted += rows;
    }
    Ok(deleted)
}

/// Says what is forgotten, in the transaction that forgets it.
async fn note(tx: &mut PgConnection, before: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update oncebox.inbox_memory set forgotten_before = $1 where forgotten_before < $1",
    )
    .bind(before)
    .execute(tx)
    .await?;
    Ok(())
}
