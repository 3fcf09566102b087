//! The polling source: asks the outbox for what a new snapshot sees and the settled one does not.
//!
//! Each question is one statement, so nothing is held open between two of them: no old snapshot that keeps
//! vacuum away, no session state that a connection pooler would lose.
//!
//! A window is never cut by transaction id: two transactions may lock one aggregate in the opposite order of their
//! ids, and only `seq` over the whole window is commit order for a key.

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgPool, Row as _};
use std::str::FromStr;
use std::time::Duration;

use super::{Backlog, Batch, Row, Source, SourceError};
use crate::cursor::{Cursor, Identity, Snapshot};

/// What the settled snapshot ($1: xmax, $2: running) does not see. Two ranges of the index on (xid, seq): a transaction
/// left open for an hour costs one more entry in $2, not a scan of an hour's rows.
const UNSETTLED: &str = "
    select seq, event_id, topic, key, payload, headers from oncebox.outbox where xid >= $1::text::xid8
    union all
    select seq, event_id, topic, key, payload, headers from oncebox.outbox where xid = any($2::text[]::xid8[])";

/// Reads one database's outbox.
#[derive(Debug)]
pub struct PollingSource {
    pool: PgPool,
}

impl PollingSource {
    /// A source on the database at `url`. Connects when it is first asked.
    ///
    /// # Errors
    /// [`SourceError::Database`] when that is no PostgreSQL address.
    pub fn new(url: &str) -> Result<Self, SourceError> {
        let options = PgConnectOptions::from_str(url)?
            .application_name("outbox-relay")
            // The planner's estimate for "xid >= x" is poor where most rows are published already; both questions
            // below are index scans by design.
            .options([("enable_seqscan", "off")]);
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .min_connections(0)
            .acquire_timeout(Duration::from_secs(5))
            .connect_lazy_with(options);
        Ok(Self { pool })
    }

    /// A new window: takes a snapshot and, when the window fits, all of its rows, in one round trip.
    async fn open_window(
        &self,
        cursor: &Cursor,
        limit: usize,
    ) -> Result<(Snapshot, Vec<Row>, bool), SourceError> {
        let bounds = Bounds::of(&cursor.settled);
        let sql = const_format(
            "with taken as materialized (select pg_current_snapshot()::text as snapshot),
                  unsettled as materialized (select * from (",
            UNSETTLED,
            ") as found limit $3)
             select taken.snapshot, unsettled.* from taken left join unsettled on true order by unsettled.seq",
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(&bounds.xmax)
            .bind(&bounds.running)
            .bind(bound(limit) + 1)
            .fetch_all(&self.pool)
            .await?;
        let snapshot: String = rows
            .first()
            .ok_or_else(|| SourceError::Unexpected("no snapshot".into()))?
            .try_get("snapshot")?;
        let snapshot = snapshot
            .parse()
            .map_err(|error| SourceError::Unexpected(format!("{error}")))?;
        let fits = rows.len() <= limit;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            // The left join gives one row of nulls when nothing waits.
            if row.try_get::<Option<i64>, _>("seq")?.is_some() {
                found.push(sqlx::FromRow::from_row(row)?);
            }
        }
        Ok((snapshot, found, fits))
    }

    /// The `seq` before the first row of a window.
    async fn window_start(&self, cursor: &Cursor, snapshot: &Snapshot) -> Result<i64, SourceError> {
        let bounds = Bounds::of(&cursor.settled);
        let first: Option<i64> = sqlx::query_scalar(
            "select min(seq) from (
                 select min(seq) as seq from oncebox.outbox
                 where xid >= $1::text::xid8 and pg_visible_in_snapshot(xid, $3::text::pg_snapshot)
                 union all
                 select min(seq) from oncebox.outbox
                 where xid = any($2::text[]::xid8[]) and pg_visible_in_snapshot(xid, $3::text::pg_snapshot)) as firsts",
        )
        .bind(&bounds.xmax)
        .bind(&bounds.running)
        .bind(snapshot.to_string())
        .fetch_one(&self.pool)
        .await?;
        Ok(first.unwrap_or(1) - 1)
    }

    /// Rows of a large window after a position: a scan of the primary key in its own order, no sort.
    async fn read_window(
        &self,
        cursor: &Cursor,
        snapshot: &Snapshot,
        position: i64,
        limit: usize,
    ) -> Result<Vec<Row>, SourceError> {
        let bounds = Bounds::of(&cursor.settled);
        let rows = sqlx::query_as(
            "select seq, event_id, topic, key, payload, headers from oncebox.outbox
             where seq > $4
               and (xid >= $1::text::xid8 or xid = any($2::text[]::xid8[]))
               and pg_visible_in_snapshot(xid, $3::text::pg_snapshot)
             order by seq limit $5",
        )
        .bind(&bounds.xmax)
        .bind(&bounds.running)
        .bind(snapshot.to_string())
        .bind(position)
        .bind(bound(limit))
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }

    async fn continue_window(
        &self,
        cursor: &Cursor,
        snapshot: Snapshot,
        position: i64,
        limit: usize,
    ) -> Result<Batch, SourceError> {
        let rows = self.read_window(cursor, &snapshot, position, limit).await?;
        let next = match rows.last() {
            Some(last) if rows.len() == limit => cursor.inside(snapshot, last.seq),
            _ => cursor.settled_at(snapshot),
        };
        // The next snapshot may see rows that committed while this window was read.
        Ok(Batch {
            more: true,
            rows,
            next,
        })
    }
}

#[async_trait]
impl Source for PollingSource {
    async fn identity(&mut self) -> Result<Identity, SourceError> {
        let row = sqlx::query(
            "select (select system_identifier::text from pg_control_system()) as system,
                    current_database()::text as database,
                    (select timeline_id from pg_control_checkpoint()) as timeline",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(Identity {
            system: row.try_get("system")?,
            database: row.try_get("database")?,
            timeline: row.try_get("timeline")?,
        })
    }

    async fn read(&mut self, cursor: &Cursor, limit: usize) -> Result<Batch, SourceError> {
        if let Some(window) = &cursor.window {
            return self
                .continue_window(cursor, window.snapshot.clone(), window.position, limit)
                .await;
        }
        let (snapshot, rows, fits) = self.open_window(cursor, limit).await?;
        if fits {
            let more = !rows.is_empty();
            return Ok(Batch {
                more,
                next: cursor.settled_at(snapshot),
                rows,
            });
        }
        // Which of its rows came back is the database's choice, and they need not be the first ones: they are dropped.
        drop(rows);
        let position = self.window_start(cursor, &snapshot).await?;
        self.continue_window(cursor, snapshot, position, limit)
            .await
    }

    async fn backlog(&mut self, cursor: &Cursor) -> Result<Backlog, SourceError> {
        let bounds = Bounds::of(&cursor.settled);
        let position = cursor.window.as_ref().map_or(0, |window| window.position);
        let row = sqlx::query(
            "select count(*) as rows,
                    coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::float8 as oldest
             from (select created_at from oncebox.outbox where xid >= $1::text::xid8 and seq > $3
                   union all
                   select created_at from oncebox.outbox where xid = any($2::text[]::xid8[]) and seq > $3
                   limit $4) as waiting",
        )
        .bind(&bounds.xmax)
        .bind(&bounds.running)
        .bind(position)
        .bind(Backlog::BOUND)
        .fetch_one(&self.pool)
        .await?;
        Ok(Backlog {
            rows: row.try_get("rows")?,
            oldest_seconds: row.try_get("oldest")?,
        })
    }

    async fn keep_copy(&mut self, cursor: &Cursor) -> Result<(), SourceError> {
        // Shard 0 of 1: shards come with leases.
        sqlx::query(
            "insert into oncebox.relay_cursor (shard, cursor) values (0, $1)
             on conflict (shard) do update set cursor = excluded.cursor, updated_at = clock_timestamp()",
        )
        .bind(sqlx::types::Json(cursor))
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

/// A settled snapshot as the statements take it.
struct Bounds {
    xmax: String,
    running: Vec<String>,
}

impl Bounds {
    fn of(settled: &Snapshot) -> Self {
        Self {
            xmax: settled.xmax().to_string(),
            running: settled.running().iter().map(u64::to_string).collect(),
        }
    }
}

fn bound(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX - 1)
}

fn const_format(head: &str, middle: &str, tail: &str) -> String {
    [head, middle, tail].concat()
}
