//! The inbox forgets, on a real PostgreSQL: it returns to its size, nobody waits for that, and duplicates within the
//! retention stay without effect.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's helper fails the test"
)]

use std::time::{Duration, Instant};

use oncebox::retention::{InboxUpkeep, keep_inbox};
use sqlx::{AssertSqlSafe, Connection, PgPool};
use testkit::TestDb;

const RETENTION: Duration = Duration::from_secs(14 * 24 * 3600);

/// Name of the partition of the day so many days ago.
async fn name_of(pool: &PgPool, ago: i32) -> String {
    sqlx::query_scalar(
        "select 'inbox_' || to_char((now() at time zone 'utc')::date - $1, 'YYYYMMDD')",
    )
    .bind(ago)
    .fetch_one(pool)
    .await
    .unwrap()
}

/// Makes the partition of the day so many days ago, as it was made at its time.
async fn day(pool: &PgPool, ago: i32) -> String {
    let made: i32 = sqlx::query_scalar(
        "select oncebox.ensure_partition('inbox', day,
             quote_literal(oncebox.uuid_floor(day::timestamp at time zone 'utc')),
             quote_literal(oncebox.uuid_floor((day + 1)::timestamp at time zone 'utc')))
         from (select (now() at time zone 'utc')::date - $1 as day) as days",
    )
    .bind(ago)
    .fetch_one(pool)
    .await
    .unwrap();
    assert_eq!(made, 1);
    name_of(pool, ago).await
}

/// Rows of events made that many days ago, handled `handled` days ago; `ids` is an expression over n.
async fn fill(pool: &PgPool, rows: i64, ids: &str, handled: f64) {
    let sql = format!(
        "insert into oncebox.inbox (consumer, event_id, status, handled_at)
         select 'c', {ids}, 'processed', now() - $2 * interval '1 day' from generate_series(1, $1) as n"
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(rows)
        .bind(handled)
        .execute(pool)
        .await
        .unwrap();
}

/// A UUIDv7 of noon, that many days ago.
fn v7(ago: i32) -> String {
    format!(
        "overlay(overlay(gen_random_uuid()::text placing substr(oncebox.uuid_floor(
             ((now() at time zone 'utc')::date - {ago} + time '12:00') at time zone 'utc')::text, 1, 13) from 1)
             placing '7' from 15)::uuid"
    )
}

async fn one<T>(pool: &PgPool, sql: &str) -> T
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
        .fetch_one(pool)
        .await
        .unwrap()
}

const SIZE: &str =
    "select sum(pg_total_relation_size(relid))::bigint from pg_partition_tree('oncebox.inbox')";
const ROWS: &str = "select count(*) from oncebox.inbox";

#[tokio::test]
async fn ten_times_filled_and_dropped_the_inbox_is_as_large_as_at_first() {
    let database = TestDb::new("inbox_size").await;
    let pool = database.pool();
    let before: i64 = one(pool, SIZE).await;
    for round in 0..10 {
        let name = day(pool, 20 + round).await;
        fill(pool, 5_000, &v7(20 + round), 20.0).await;
        let held: i64 = one(pool, &format!("select count(*) from oncebox.{name}")).await;
        assert_eq!(held, 5_000);
        let full: i64 = one(pool, SIZE).await;
        assert!(full > before + 500_000, "{full} after {before}");
        let kept = keep_inbox(pool, RETENTION).await.unwrap();
        assert_eq!((kept.dropped, kept.busy), (vec![name], false));
        let after: i64 = one(pool, SIZE).await;
        assert_eq!(after, before);
    }
    let forgotten: bool = one(
        pool,
        "select forgotten_before between now() - interval '14 days 1 minute' and now() - interval '14 days'
         from oncebox.inbox_memory",
    )
    .await;
    assert!(forgotten);
}

#[tokio::test]
async fn a_row_is_kept_for_the_retention_since_it_was_handled() {
    let database = TestDb::new("inbox_late").await;
    let pool = database.pool();
    let (old, young) = (day(pool, 20).await, day(pool, 10).await);
    fill(pool, 50, &v7(20), 20.0).await;
    fill(pool, 10, &v7(20), 0.5).await;
    fill(pool, 5, &v7(10), 10.0).await;
    let kept = keep_inbox(pool, RETENTION).await.unwrap();
    assert_eq!(kept.dropped, [old]);
    // The ten lie in the default partition now, and are found there.
    assert_eq!((one::<i64>(pool, ROWS).await, kept.default_rows), (15, 10));
    let present: bool = one(
        pool,
        &format!("select to_regclass('oncebox.{young}') is not null"),
    )
    .await;
    assert!(present);

    // Many late rows keep their day; a retention of seconds is one of a day.
    let name = day(pool, 30).await;
    fill(pool, 1_001, &v7(30), 1.5).await;
    let kept = keep_inbox(pool, RETENTION).await.unwrap();
    assert_eq!(kept.dropped, [""; 0]);
    let kept = keep_inbox(pool, Duration::from_secs(1)).await.unwrap();
    assert_eq!(kept.dropped, [name, young]);
    assert_eq!(kept.deleted, 0, "handled half a day ago");
}

#[tokio::test]
async fn ids_without_a_time_are_deleted_by_age() {
    let database = TestDb::new("inbox_foreign").await;
    let pool = database.pool();
    // Version 4, spread over all values; a few may hit a day by chance.
    fill(pool, 12_000, "gen_random_uuid()", 15.0).await;
    fill(pool, 300, "gen_random_uuid()", 13.0).await;
    let kept = keep_inbox(pool, RETENTION).await.unwrap();
    assert!(kept.deleted >= 11_990, "{kept:?}");
    let left: i64 = one(pool, ROWS).await;
    assert!((300..=310).contains(&left), "{left}");
    assert_eq!(keep_inbox(pool, RETENTION).await.unwrap().deleted, 0);
    let plan: Vec<String> = sqlx::query_scalar(
        "explain select ctid from oncebox.inbox_default where handled_at < now() - interval '14 days' order by handled_at limit 5000",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    assert!(
        plan.concat().contains("inbox_default_handled_at"),
        "{plan:?}"
    );
}

#[tokio::test]
async fn nobody_waits_long_for_a_drop_that_cannot_have_its_lock() {
    let database = TestDb::new("inbox_busy").await;
    let pool = database.pool();
    let name = day(pool, 20).await;
    fill(pool, 1_000, &v7(20), 20.0).await;
    // A handler is in the middle of its transaction.
    let mut handler = pool.acquire().await.unwrap();
    let mut tx = handler.begin().await.unwrap();
    let insert = format!(
        "insert into oncebox.inbox (consumer, event_id, status) select 'c', {}, 'processed'",
        v7(0)
    );
    sqlx::query(AssertSqlSafe(insert))
        .execute(&mut *tx)
        .await
        .unwrap();
    let keeping = tokio::spawn({
        let pool = pool.clone();
        async move { keep_inbox(&pool, RETENTION).await }
    });
    // Others go on meanwhile, each of them at most a moment later.
    let (mut slowest, mut rows) = (Duration::ZERO, 1_000);
    while !keeping.is_finished() {
        let started = Instant::now();
        fill(pool, 1, &v7(0), 0.0).await;
        rows += 1;
        slowest = slowest.max(started.elapsed());
    }
    let kept = keeping.await.unwrap().unwrap();
    assert_eq!((kept.dropped.len(), kept.busy), (0, true));
    // 50 ms behind the lock, and what a busy machine adds.
    assert!(slowest < Duration::from_millis(400), "{slowest:?}");
    assert!(rows > 1_050, "{rows}");
    tx.commit().await.unwrap();
    assert_eq!(one::<i64>(pool, ROWS).await, rows + 1);

    let kept = keep_inbox(pool, RETENTION).await.unwrap();
    assert_eq!((kept.dropped, kept.busy), (vec![name], false));
    assert_eq!(one::<i64>(pool, ROWS).await, rows - 999);
}

/// Days are made beside a default partition that is too large to be read under a lock.
#[tokio::test]
async fn days_are_made_beside_a_large_default_partition() {
    let database = TestDb::new("inbox_large").await;
    let pool = database.pool();
    let full = keep_inbox(pool, RETENTION).await.unwrap();
    sqlx::raw_sql(
        "insert into oncebox.inbox (consumer, event_id, status)
         select repeat('long', 64), gen_random_uuid(), 'processed' from generate_series(1, 260000)",
    )
    .execute(pool)
    .await
    .unwrap();
    for ago in [-1, 0] {
        let drop = format!("drop table oncebox.{}", name_of(pool, ago).await);
        sqlx::raw_sql(AssertSqlSafe(drop))
            .execute(pool)
            .await
            .unwrap();
    }
    // Rows of today lie in the default partition: that day stays without its own, and tomorrow gets it.
    fill(pool, 1, &v7(0), 0.0).await;
    // A round that died in the middle.
    sqlx::raw_sql("alter table oncebox.inbox_default add constraint inbox_default_without_29990101 check (event_id is null) not valid")
        .execute(pool)
        .await
        .unwrap();
    let made: i32 = one(pool, "select oncebox.ensure_partitions()").await;
    assert_eq!(made, 0, "not by reading it under a lock");
    let kept = keep_inbox(pool, RETENTION).await.unwrap();
    assert_eq!(
        kept,
        InboxUpkeep {
            made: 1,
            partitions: full.partitions - 1,
            days_ahead: 0,
            default_rows: 10_000,
            ..InboxUpkeep::default()
        }
    );
    let constraints: i64 = one(
        pool,
        "select count(*) from pg_constraint where conname like 'inbox_default_without_%'",
    )
    .await;
    assert_eq!(constraints, 0);
    fill(pool, 1, &v7(-1), 0.0).await;
}

/// An event of the last moment of a day and one of the first moment of the next, in one batch, again and again.
#[tokio::test]
async fn the_batch_insert_touches_the_partitions_of_its_events_only() {
    let database = TestDb::new("inbox_explain").await;
    let pool = database.pool();
    let mut names = [name_of(pool, 0).await, name_of(pool, -1).await];
    let insert = "insert into oncebox.inbox (consumer, event_id, status)
         select 'c', id, 'processed' from unnest($1::uuid[]) as id order by id
         on conflict (consumer, event_id) do nothing returning event_id";
    let floor: uuid::Uuid = one(
        pool,
        "select oncebox.uuid_floor(((now() at time zone 'utc')::date + 1)::timestamp at time zone 'utc')",
    )
    .await;
    // One millisecond before midnight, and midnight.
    let midnight = floor.as_u128();
    let last = uuid::Uuid::from_u128(midnight - (1 << 80) + (0x7 << 76) + 1);
    let first = uuid::Uuid::from_u128(midnight + (0x7 << 76) + 1);
    let batch = vec![first, last];
    for expected in [2, 0, 0] {
        let fresh: Vec<uuid::Uuid> = sqlx::query_scalar(insert)
            .bind(&batch)
            .fetch_all(pool)
            .await
            .unwrap();
        assert_eq!(fresh.len(), expected);
    }
    for (name, id) in names.iter().zip([last, first]) {
        let held: Vec<uuid::Uuid> = sqlx::query_scalar(AssertSqlSafe(format!(
            "select event_id from oncebox.{name}"
        )))
        .fetch_all(pool)
        .await
        .unwrap();
        assert_eq!(held, [id]);
    }

    // What the insert locks while it runs is what it touches.
    let mut connection = pool.acquire().await.unwrap();
    let mut tx = connection.begin().await.unwrap();
    sqlx::query(insert)
        .bind(&batch)
        .execute(&mut *tx)
        .await
        .unwrap();
    let mut touched: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_locks join pg_class on pg_class.oid = relation
         where pid = pg_backend_pid() and relkind = 'r' and relname like 'inbox\\_%' order by relname",
    )
    .fetch_all(&mut *tx)
    .await
    .unwrap();
    tx.rollback().await.unwrap();
    touched.sort();
    names.sort();
    assert_eq!(touched, names);

    // And the look before the transaction reads only what may hold its events.
    let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
        "explain select event_id from oncebox.inbox where consumer = 'c' and event_id = any('{{{last},{first}}}'::uuid[])
             and (status = 'processed' or not false)"
    )))
    .fetch_all(pool)
    .await
    .unwrap();
    let scans = plan
        .iter()
        .filter(|line| line.contains(" on inbox_"))
        .count();
    assert_eq!(scans, 2, "{plan:#?}");
}

/// The inbox as it was before it forgot anything, with rows, while code of that time goes on.
#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_of_before_is_taken_over_beside_old_code() {
    let database = TestDb::empty("inbox_migrate").await;
    let pool = database.pool();
    let mut before: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");
    let old = before.migrations.iter().filter(|step| step.version < 12);
    before.migrations = old.cloned().collect::<Vec<_>>().into();
    before.create_schema("oncebox");
    before.dangerous_set_table_name("oncebox._migrations");
    before.run(pool).await.unwrap();
    one::<i32>(pool, "select oncebox.ensure_partitions()").await;
    let old_day = day(pool, 20).await;
    fill(pool, 20_000, "gen_random_uuid()", 15.0).await;
    fill(pool, 20_000, "gen_random_uuid()", 1.0).await;
    fill(pool, 1_000, &v7(20), 20.0).await;
    fill(pool, 1_000, &v7(0), 0.0).await;

    let stop = tokio_util::sync::CancellationToken::new();
    let writer = tokio::spawn({
        let (pool, stop) = (pool.clone(), stop.clone());
        async move {
            let (mut written, mut slowest) = (0, Duration::ZERO);
            while !stop.is_cancelled() {
                let started = Instant::now();
                fill(&pool, 1, &v7(0), 0.0).await;
                fill(&pool, 1, "gen_random_uuid()", 0.0).await;
                slowest = slowest.max(started.elapsed());
                written += 2;
            }
            (written, slowest)
        }
    });
    oncebox::migrate(pool).await.unwrap();
    assert_eq!(
        keep_inbox(pool, Duration::from_secs(400 * 24 * 3600))
            .await
            .unwrap()
            .deleted,
        0
    );
    stop.cancel();
    let (written, slowest) = writer.await.unwrap();
    assert_eq!(one::<i64>(pool, ROWS).await, 42_000 + written);
    assert!(
        written > 2 && slowest < Duration::from_secs(2),
        "{written} {slowest:?}"
    );

    let kept = keep_inbox(pool, RETENTION).await.unwrap();
    assert_eq!(kept.dropped, [old_day]);
    assert!((19_980..=20_000).contains(&kept.deleted), "{kept:?}");
}
