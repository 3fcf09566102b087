//! How long the inbox remembers, and forgetting what is older: for consumers, which see to it by themselves once an hour.
//!
//! Each event's row is kept for the retention since it was handled. Rows lie in partitions by the day in their
//! UUIDv7; a day is dropped as a whole when it is over for that long, and the few of its rows that were handled later
//! move to the default partition. Ids without a time (of foreign producers, of records without an id) lie in the default partition
//! from the beginning and are deleted by age, which its vacuum makes room of.
//!
//! What a consumer does with an event that may be forgotten says `docs/guarantees.md`.

mod days;
mod forget;

use std::time::Duration;

use sqlx::PgPool;

/// The shortest retention; a shorter setting is taken for this. Younger events are never forgotten, so a consumer asks for
/// what is forgotten only when it meets an older one.
pub const SHORTEST: Duration = Duration::from_secs(24 * 3600);

/// What one round did, and how things stand afterwards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InboxUpkeep {
    /// Daily partitions that were made.
    pub made: i32,
    /// Partitions that were dropped, by name.
    pub dropped: Vec<String>,
    /// Rows of the default partition that were deleted.
    pub deleted: u64,
    /// Something could not be done because somebody held a lock for too long; the next round tries again.
    pub busy: bool,
    /// Partitions of the inbox, with the default one.
    pub partitions: i64,
    /// Days from today on that have a partition, without a gap.
    pub days_ahead: i64,
    /// Rows in the default partition, counted to 10,000.
    pub default_rows: i64,
}

/// Makes the inbox's partitions ahead, and forgets what was handled longer ago than `retention` (at least [`SHORTEST`]).
///
/// Consumers call it once an hour. Writers wait at most 100 ms for it, at a lock that it asks for and may not get. Safe to
/// call from several processes at once, and a crash in the middle leaves nothing half done: each step is a transaction.
///
/// # Errors
/// Any [`sqlx::Error`]; the steps before it stay.
pub async fn keep_inbox(pool: &PgPool, retention: Duration) -> Result<InboxUpkeep, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let mut upkeep = InboxUpkeep::default();
    days::make_ahead(&mut connection, &mut upkeep).await?;
    forget::forget(&mut connection, retention.max(SHORTEST), &mut upkeep).await?;
    (upkeep.partitions, upkeep.days_ahead, upkeep.default_rows) = sqlx::query_as(
        "select (select count(*) from pg_inherits where inhparent = 'oncebox.inbox'::regclass),
                (select count(*) from (
                     select bool_and(to_regclass('oncebox.inbox_' || to_char(day, 'YYYYMMDD')) is not null)
                                over (order by day) as there
                     from generate_series((now() at time zone 'utc')::date, (now() at time zone 'utc')::date + 30,
                                          interval '1 day') as day) as days where there),
                (select count(*) from (select 1 from oncebox.inbox_default limit 10000) as counted)",
    )
    .fetch_one(&mut *connection)
    .await?;
    Ok(upkeep)
}

/// Takes the turn to see to the inbox, if nobody did within the last `every`; notes what the consumer wants on the way.
/// Returns the longest retention that any consumer of this database wants.
pub(crate) async fn take_turn(
    pool: &PgPool,
    consumer: &str,
    retention: Duration,
    every: Duration,
) -> Result<Option<Duration>, sqlx::Error> {
    let wanted: Option<f64> = sqlx::query_scalar(
        "with mine as (
             insert into oncebox.inbox_consumers (consumer, retention) values ($1, make_interval(secs => $2))
             on conflict (consumer) do update set retention = excluded.retention, seen_at = clock_timestamp()
         ), turn as (
             update oncebox.inbox_memory set attended_at = clock_timestamp()
             where attended_at < clock_timestamp() - make_interval(secs => $3) returning 1
         )
         select greatest($2, (select extract(epoch from max(retention))::float8 from oncebox.inbox_consumers
                              where consumer <> $1 and seen_at > clock_timestamp() - interval '90 days'))
         from turn",
    )
    .bind(consumer)
    .bind(retention.as_secs_f64())
    .bind(every.as_secs_f64())
    .fetch_optional(pool)
    .await?;
    Ok(wanted.map(Duration::from_secs_f64))
}

/// lock_not_available, deadlock_detected, query_canceled (PostgreSQL documentation, appendix A): somebody works there,
/// later then.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("55P03" | "40P01" | "57014"))
}
