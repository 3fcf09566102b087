//! What the polling source asks an outbox. The statements themselves are in [`super::table`].

use sqlx::{AssertSqlSafe, FromRow as _, PgConnection, Row as _};

use super::copy;
use super::statements::Statements;
use crate::cursor::{Cursor, Snapshot};
use crate::source::{Backlog, Batch, Limits, Row, SourceError};

/// What a new snapshot sees and the settled one does not.
pub(super) struct Found {
    pub(super) snapshot: Snapshot,
    /// Whether the window has no more rows than the limit; `rows` is empty otherwise.
    pub(super) fits: bool,
    /// The last number of the sequence, where it may be seen.
    pub(super) last_number: Option<i64>,
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
    statements: &Statements,
    settled: &Snapshot,
    limits: Limits,
) -> Result<Found, SourceError> {
    let rows = sqlx::query(AssertSqlSafe(statements.open_window.clone()))
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
        last_number: first.try_get("last_number")?,
        count,
        rows,
    })
}

/// The `seq` before the first row of a window.
pub(super) async fn before_first(
    connection: &mut PgConnection,
    statements: &Statements,
    settled: &Snapshot,
    window: &Snapshot,
) -> Result<i64, SourceError> {
    let asked = statements.before_first(settled, window);
    let first: Option<i64> = sqlx::query_scalar(AssertSqlSafe(asked))
        .persistent(false)
        .fetch_one(connection)
        .await?;
    Ok(first.unwrap_or(1) - 1)
}

pub(super) async fn read_window(
    connection: &mut PgConnection,
    statements: &Statements,
    settled: &Snapshot,
    window: &Snapshot,
    position: i64,
    limits: Limits,
) -> Result<Vec<Row>, SourceError> {
    copy::rows(
        connection,
        &statements.read_window(settled, window, position, limits),
    )
    .await
}

pub(super) async fn backlog(
    connection: &mut PgConnection,
    statements: &Statements,
    cursor: &Cursor,
) -> Result<Backlog, SourceError> {
    let position = cursor.window.as_ref().map_or(0, |window| window.position);
    let asked = statements.backlog(&cursor.settled, position, Backlog::BOUND);
    let row = sqlx::query(AssertSqlSafe(asked))
        .persistent(false)
        .fetch_one(&mut *connection)
        .await?;
    Ok(Backlog {
        rows: row.try_get("rows")?,
        oldest_seconds: row.try_get("oldest")?,
        oldest_open_transaction_seconds: oldest_open_transaction(connection).await?,
    })
}

/// Of other sessions in this database. Without the right to read all statistics (`pg_monitor`) only those of the same
/// user are seen.
async fn oldest_open_transaction(connection: &mut PgConnection) -> Result<f64, SourceError> {
    let seconds = sqlx::query_scalar(
        "select coalesce(extract(epoch from clock_timestamp() - min(xact_start)), 0)::float8
         from pg_stat_activity
         where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()",
    )
    .fetch_one(connection)
    .await?;
    Ok(seconds)
}

pub(super) async fn keep_copy(
    connection: &mut PgConnection,
    shard: i32,
    cursor: &Cursor,
) -> Result<(), SourceError> {
    sqlx::query(
        "insert into oncebox.relay_cursor (shard, cursor) values ($1, $2)
         on conflict (shard) do update set cursor = excluded.cursor, updated_at = clock_timestamp()",
    )
    .bind(shard)
    .bind(sqlx::types::Json(cursor))
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) fn running(settled: &Snapshot) -> Vec<String> {
    settled.running().iter().map(u64::to_string).collect()
}

fn parse(text: &str) -> Result<Snapshot, SourceError> {
    text.parse()
        .map_err(|error| SourceError::Unexpected(format!("{error}")))
}

#[cfg(test)]
mod tests {
    //! What the questions cost on a filled table: pages that they touch, not a plan's shape alone.

    use sqlx::AssertSqlSafe;
    use testkit::TestDb;

    use super::super::link::Link;
    use super::super::table::Table;
    use super::*;

    fn statements() -> Statements {
        Statements::of(&Table::default(), crate::shard::Shard::ONLY)
    }

    /// 60,000 published rows, then a transaction that has been open all the while and commits its row, and ten new rows.
    async fn filled() -> (TestDb, Snapshot) {
        let database = TestDb::new("plan").await;
        let fill = "insert into oncebox.outbox (event_id, topic, key, payload)
                    select gen_random_uuid(), 't', 'k', decode(repeat('00', 300), 'hex') from generate_series(1, $1)";
        let insert = |rows: i64| sqlx::query(fill).bind(rows);
        let mut late = database.pool().begin().await.unwrap();
        insert(1).execute(&mut *late).await.unwrap();
        for _ in 0..60 {
            insert(1000).execute(database.pool()).await.unwrap();
        }
        sqlx::raw_sql("vacuum analyze oncebox.outbox")
            .execute(database.pool())
            .await
            .unwrap();
        let settled = parse(
            &sqlx::query_scalar::<_, String>("select pg_current_snapshot()::text")
                .fetch_one(database.pool())
                .await
                .unwrap(),
        )
        .unwrap();
        assert!(!settled.running().is_empty(), "the late transaction");
        late.commit().await.unwrap();
        insert(10).execute(database.pool()).await.unwrap();
        (database, settled)
    }

    /// The plan, and how many pages executing it touched.
    async fn cost(connection: &mut PgConnection, sql: &str) -> (String, i64) {
        let sql = format!("explain (analyze, buffers, format json) {sql}");
        let plan: serde_json::Value = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(connection)
            .await
            .unwrap();
        let top = &plan[0]["Plan"];
        let pages = ["Shared Hit Blocks", "Shared Read Blocks"]
            .map(|name| top[name].as_i64().unwrap())
            .iter()
            .sum();
        (plan.to_string(), pages)
    }

    /// Likewise, of a look as the relay asks it: prepared once, for every value.
    async fn cost_of_look(
        connection: &mut PgConnection,
        settled: &Snapshot,
        limits: Limits,
    ) -> (String, i64) {
        let look = statements().open_window;
        let prepare = format!("prepare look (text, text[], bigint, bigint) as {look}");
        sqlx::raw_sql(AssertSqlSafe(prepare))
            .execute(&mut *connection)
            .await
            .unwrap();
        let (xmax, running) = (settled.xmax(), running(settled).join(","));
        let (rows, bytes) = (limits.rows, limits.bytes);
        let execute = format!("execute look ('{xmax}', '{{{running}}}', {rows}, {bytes})");
        let (plan, pages) = cost(connection, &execute).await;
        assert!(plan.contains("$1"), "planned for one value: {plan}");
        assert!(!plan.contains("Seq Scan"), "{plan}");
        (plan, pages)
    }

    #[tokio::test]
    async fn a_small_window_costs_a_few_pages_of_a_large_table() {
        let (database, settled) = filled().await;
        let mut connection = Link::to(database.url()).unwrap().take().await.unwrap();
        let limits = Limits {
            rows: 1000,
            bytes: 1_000_000,
        };
        let found = open_window(&mut connection, &statements(), &settled, limits)
            .await
            .unwrap();
        assert_eq!((found.fits, found.rows.len()), (true, 11));
        let (plan, pages) = cost_of_look(&mut connection, &settled, limits).await;
        assert!(pages < 100, "{pages} pages: {plan}");
        let backlog = statements().backlog(&settled, 0, Backlog::BOUND);
        let (plan, pages) = cost(&mut connection, &backlog).await;
        assert!(pages < 100, "{pages} pages: {plan}");
    }

    #[tokio::test]
    async fn a_look_at_a_large_backlog_ends_at_its_limit() {
        let (database, _) = filled().await;
        let mut connection = Link::to(database.url()).unwrap().take().await.unwrap();
        let limits = Limits {
            rows: 1000,
            bytes: 1_000_000,
        };
        let (plan, pages) = cost_of_look(&mut connection, &Snapshot::nothing(), limits).await;
        // The pages of a thousand rows in their index and in the table, of three thousand.
        assert!(pages < 1_500, "{pages} pages: {plan}");
        assert!(!plan.contains("Bitmap"), "{plan}");
    }

    #[tokio::test]
    async fn a_piece_of_a_backlog_costs_its_own_pages_and_no_sort() {
        let (database, _) = filled().await;
        let mut connection = Link::to(database.url()).unwrap().take().await.unwrap();
        let (settled, window) = (
            Snapshot::nothing(),
            snapshot(&mut connection).await.unwrap(),
        );
        let limits = Limits {
            rows: 1000,
            bytes: 10_000_000,
        };
        let found = open_window(&mut connection, &statements(), &settled, limits)
            .await
            .unwrap();
        assert_eq!((found.fits, found.rows.len()), (false, 0));
        let piece = statements().read_window(&settled, &window, 30_000, limits);
        let (plan, pages) = cost(&mut connection, &piece).await;
        assert!(!plan.contains("Seq Scan"), "{plan}");
        assert!(!plan.contains("\"Sort\""), "{plan}");
        // A thousand rows of 400 bytes lie on about sixty pages, of three thousand.
        assert!(pages < 200, "{pages} pages: {plan}");
        let rows = read_window(
            &mut connection,
            &statements(),
            &settled,
            &window,
            30_000,
            limits,
        )
        .await
        .unwrap();
        assert_eq!(rows.len(), 1000);
        assert!(rows.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    }

    #[tokio::test]
    async fn bytes_bound_a_batch_and_one_large_row_passes_alone() {
        let (database, settled) = filled().await;
        let mut connection = Link::to(database.url()).unwrap().take().await.unwrap();
        for (bytes, expected) in [(1, 1), (1200, 3), (1_000_000, 11)] {
            let limits = Limits { rows: 1000, bytes };
            let found = open_window(&mut connection, &statements(), &settled, limits)
                .await
                .unwrap();
            assert_eq!(found.rows.len(), expected, "within {bytes} bytes");
            let window = found.snapshot.clone();
            let rows =
                read_window(&mut connection, &statements(), &settled, &window, 0, limits).await;
            assert_eq!(rows.unwrap().len(), expected, "within {bytes} bytes");
        }
    }
}
