//! What the polling source asks the database: every statement of the relay's, each a scan of an index.

use sqlx::{FromRow as _, PgConnection, Row as _};

use crate::cursor::{Cursor, Snapshot};
use crate::source::{Backlog, Batch, Limits, Row, SourceError};

/// One look: the snapshot and what it sees that the settled one ($1: xmax, $2: running) does not, unless that is more
/// rows than the limit ($3), and then the first of them up to a size ($4).
///
/// Two ranges of the index on (xid, seq): a transaction left open for an hour costs one more entry in $2, not a scan of
/// an hour's rows. Where there are too many, counting stops one after the limit, and none is sent: which of them came
/// first would be the planner's choice.
const OPEN_WINDOW: &str = "
    with taken as materialized (select pg_current_snapshot()::text as snapshot),
    unsettled as materialized (
        select seq, event_id, topic, key, payload, headers from (
            select * from oncebox.outbox where xid >= $1::text::xid8
            union all
            select * from oncebox.outbox where xid = any($2::text[]::xid8[])) as found
        limit $3 + 1),
    counted as materialized (select count(*) as found from unsettled),
    sized as (
        select *, sum(coalesce(octet_length(payload), 0) + pg_column_size(headers) + 200)
            over (order by seq rows between unbounded preceding and 1 preceding) as bytes_before
        from unsettled where (select found from counted) <= $3)
    select taken.snapshot, counted.found, sized.*
    from taken cross join counted left join sized on coalesce(sized.bytes_before, 0) < $4
    order by sized.seq";

/// Rows of a window ($1, $2: settled; $3: what the window sees) after a position ($4), in `seq` order by the primary
/// key, no sort; at most so many rows ($5) and bytes ($6). A size is known without reading a large payload itself.
const READ_WINDOW: &str = "
    select seq, event_id, topic, key, payload, headers from (
        select *, sum(coalesce(octet_length(payload), 0) + pg_column_size(headers) + 200)
            over (order by seq rows between unbounded preceding and 1 preceding) as bytes_before
        from (
            select seq, event_id, topic, key, payload, headers from oncebox.outbox
            where seq > $4
              and (xid >= $1::text::xid8 or xid = any((select $2::text[]::xid8[])::xid8[]))
              and pg_visible_in_snapshot(xid, (select $3::text::pg_snapshot))
            order by seq limit $5) as next) as sized
    where coalesce(bytes_before, 0) < $6
    order by seq";

/// What a new snapshot sees and the settled one does not.
pub(super) struct Found {
    pub(super) snapshot: Snapshot,
    /// Whether the window has no more rows than the limit; `rows` is empty otherwise.
    pub(super) fits: bool,
    count: i64,
    rows: Vec<Row>,
}

impl Found {
    /// The batch of a window that fits, or of its first rows when their bytes reach the limit.
    pub(super) fn whole(self, cursor: &Cursor) -> Batch {
        let complete = i64::try_from(self.rows.len()) == Ok(self.count);
        let next = match self.rows.last() {
            Some(last) if !complete => cursor.inside(self.snapshot, last.seq),
            _ => cursor.settled_at(self.snapshot),
        };
        Batch {
            more: !self.rows.is_empty(),
            rows: self.rows,
            next,
        }
    }
}

pub(super) async fn snapshot(connection: &mut PgConnection) -> Result<Snapshot, SourceError> {
    let text: String = sqlx::query_scalar("select pg_current_snapshot()::text")
        .fetch_one(connection)
        .await?;
    parse(&text)
}

pub(super) async fn open_window(
    connection: &mut PgConnection,
    settled: &Snapshot,
    limits: Limits,
) -> Result<Found, SourceError> {
    let rows = sqlx::query(OPEN_WINDOW)
        .bind(settled.xmax().to_string())
        .bind(running(settled))
        .bind(limits.rows)
        .bind(limits.bytes)
        .fetch_all(connection)
        .await?;
    let first = rows
        .first()
        .ok_or_else(|| SourceError::Unexpected("no snapshot".into()))?;
    let snapshot = parse(first.try_get("snapshot")?)?;
    let count: i64 = first.try_get("found")?;
    // The left join gives one row of nulls when nothing waits, or too much.
    let present = first.try_get::<Option<i64>, _>("seq")?.is_some();
    let rows = if present {
        rows.iter().map(Row::from_row).collect::<Result<_, _>>()?
    } else {
        Vec::new()
    };
    Ok(Found {
        snapshot,
        fits: count <= limits.rows,
        count,
        rows,
    })
}

/// The `seq` before the first row of a window.
pub(super) async fn before_first(
    connection: &mut PgConnection,
    settled: &Snapshot,
    window: &Snapshot,
) -> Result<i64, SourceError> {
    let first: Option<i64> = sqlx::query_scalar(
        "select min(seq) from (
             select min(seq) as seq from oncebox.outbox
             where xid >= $1::text::xid8 and pg_visible_in_snapshot(xid, (select $3::text::pg_snapshot))
             union all
             select min(seq) from oncebox.outbox
             where xid = any($2::text[]::xid8[]) and pg_visible_in_snapshot(xid, (select $3::text::pg_snapshot))) as firsts",
    )
    .bind(settled.xmax().to_string())
    .bind(running(settled))
    .bind(window.to_string())
    .fetch_one(connection)
    .await?;
    Ok(first.unwrap_or(1) - 1)
}

pub(super) async fn read_window(
    connection: &mut PgConnection,
    settled: &Snapshot,
    window: &Snapshot,
    position: i64,
    limits: Limits,
) -> Result<Vec<Row>, SourceError> {
    let rows = sqlx::query_as(READ_WINDOW)
        .bind(settled.xmax().to_string())
        .bind(running(settled))
        .bind(window.to_string())
        .bind(position)
        .bind(limits.rows)
        .bind(limits.bytes)
        .fetch_all(connection)
        .await?;
    Ok(rows)
}

pub(super) async fn backlog(
    connection: &mut PgConnection,
    cursor: &Cursor,
) -> Result<Backlog, SourceError> {
    let position = cursor.window.as_ref().map_or(0, |window| window.position);
    let row = sqlx::query(
        "select count(*) as rows,
                coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::float8 as oldest
         from (select created_at from oncebox.outbox where xid >= $1::text::xid8 and seq > $3
               union all
               select created_at from oncebox.outbox where xid = any($2::text[]::xid8[]) and seq > $3
               limit $4) as waiting",
    )
    .bind(cursor.settled.xmax().to_string())
    .bind(running(&cursor.settled))
    .bind(position)
    .bind(Backlog::BOUND)
    .fetch_one(connection)
    .await?;
    Ok(Backlog {
        rows: row.try_get("rows")?,
        oldest_seconds: row.try_get("oldest")?,
    })
}

pub(super) async fn keep_copy(
    connection: &mut PgConnection,
    cursor: &Cursor,
) -> Result<(), SourceError> {
    // Shard 0 of 1: shards come with leases.
    sqlx::query(
        "insert into oncebox.relay_cursor (shard, cursor) values (0, $1)
         on conflict (shard) do update set cursor = excluded.cursor, updated_at = clock_timestamp()",
    )
    .bind(sqlx::types::Json(cursor))
    .execute(connection)
    .await?;
    Ok(())
}

fn running(settled: &Snapshot) -> Vec<String> {
    settled.running().iter().map(u64::to_string).collect()
}

fn parse(text: &str) -> Result<Snapshot, SourceError> {
    text.parse()
        .map_err(|error| SourceError::Unexpected(format!("{error}")))
}
