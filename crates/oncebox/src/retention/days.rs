//! Making the inbox's days ahead, also where the default partition is large.
//!
//! Attaching a partition reads the default one for rows that would belong to the new one, under a lock that keeps every
//! handler out. A validated check constraint proves that there are none, and validating locks nobody out.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{InboxUpkeep, is_busy};
use crate::migrations::DAYS_AHEAD;

/// How long writers may have to wait behind a lock that is asked for.
const LOCK_TIMEOUT: &str = "set local lock_timeout = '50ms'";

/// A day that has no partition yet.
#[derive(Debug, sqlx::FromRow)]
struct Day {
    name: String,
    low: String,
    high: String,
}

/// Makes the days ahead that are missing.
pub(super) async fn make_ahead(
    connection: &mut PgConnection,
    upkeep: &mut InboxUpkeep,
) -> Result<(), sqlx::Error> {
    remove_left_over(connection).await?;
    upkeep.made = sqlx::query_scalar("select oncebox.ensure_partitions($1)")
        .bind(DAYS_AHEAD)
        .fetch_one(&mut *connection)
        .await?;
    let missing: Vec<Day> = sqlx::query_as(
        "select name, oncebox.uuid_floor(day at time zone 'utc')::text as low,
                oncebox.uuid_floor((day + interval '1 day') at time zone 'utc')::text as high
         from (select day, 'inbox_' || to_char(day, 'YYYYMMDD') as name
               from generate_series((now() at time zone 'utc')::date::timestamp,
                                    (now() at time zone 'utc')::date + $1 * interval '1 day', interval '1 day') as day) as days
         where to_regclass('oncebox.' || name) is null order by day",
    )
    .bind(DAYS_AHEAD)
    .fetch_all(&mut *connection)
    .await?;
    for day in missing {
        match make(connection, &day).await {
            Ok(()) => upkeep.made += 1,
            Err(error) if is_busy(&error) => upkeep.busy = true,
            Err(error) if is_check_violation(&error) => {
                tracing::warn!(
                    partition = day.name,
                    "the inbox's default partition holds rows of a day, which stays without a partition until they are forgotten"
                );
            }
            Err(error) => {
                remove_left_over(connection).await?;
                return Err(error);
            }
        }
        remove_left_over(connection).await?;
    }
    Ok(())
}

async fn make(connection: &mut PgConnection, day: &Day) -> Result<(), sqlx::Error> {
    let Day { name, low, high } = day;
    let constraint = constraint(name);
    run(
        connection,
        &format!(
            "alter table oncebox.inbox_default add constraint {constraint}
             check (event_id < '{low}' or event_id >= '{high}') not valid"
        ),
    )
    .await?;
    let validate = format!("alter table oncebox.inbox_default validate constraint {constraint}");
    sqlx::raw_sql(AssertSqlSafe(validate))
        .execute(&mut *connection)
        .await?;
    run(
        connection,
        &format!(
            "create table oncebox.{name} (like oncebox.inbox including defaults including constraints);
             alter table oncebox.inbox attach partition oncebox.{name} for values from ('{low}') to ('{high}');
             alter table oncebox.inbox_default drop constraint {constraint}"
        ),
    )
    .await
}

/// What a round that died on the way has left would refuse rows of its day.
async fn remove_left_over(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let left: Vec<String> = sqlx::query_scalar(
        "select conname::text from pg_constraint
         where conrelid = 'oncebox.inbox_default'::regclass and conname ~ '^inbox_default_without_[0-9]{8}$'",
    )
    .fetch_all(&mut *connection)
    .await?;
    for name in left {
        run(
            connection,
            &format!("alter table oncebox.inbox_default drop constraint if exists {name}"),
        )
        .await?;
    }
    Ok(())
}

async fn run(connection: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    let mut tx = connection.begin().await?;
    sqlx::raw_sql(AssertSqlSafe(format!("{LOCK_TIMEOUT}; {sql}")))
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}

fn constraint(partition: &str) -> String {
    partition.replace("inbox_", "inbox_default_without_")
}

fn is_check_violation(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.as_deref() == Some("23514")
}
