//! The kit's tables in a service's own database: made and kept up to date here, for every service
//! before its own migrations.

use sqlx::PgPool;
use sqlx::migrate::{MigrateError, Migrator};

/// How many days of partitions exist ahead of today.
///
/// A maintenance that fails for this long sends rows to the default partition; nothing is lost.
pub const DAYS_AHEAD: i32 = 7;

/// Creates or updates the schema `oncebox` in the database behind `pool`, then makes partitions ahead.
///
/// Safe to call from several processes at once (an advisory lock orders them) and at every start:
/// what is applied already is skipped. Migrations only go forward and old code runs on with new tables.
/// A crash in the middle leaves a migration either applied or not: each is one transaction.
///
/// # Errors
/// [`MigrateError`] when the database cannot be reached, or holds a migration that this version does not know.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    let mut migrator: Migrator = sqlx::migrate!("./migrations");
    // The service's own migrations keep sqlx's default table; two lists in one table would refuse each other.
    migrator.create_schema("oncebox");
    migrator.dangerous_set_table_name("oncebox._migrations");
    migrator.run(pool).await?;
    ensure_partitions(pool).await?;
    Ok(())
}

/// Makes the daily partitions of outbox and inbox [`DAYS_AHEAD`] days ahead; returns how many were made.
///
/// # Errors
/// Any [`sqlx::Error`]; nothing is half made, because the call is one transaction.
pub async fn ensure_partitions(pool: &PgPool) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar("select oncebox.ensure_partitions($1)")
        .bind(DAYS_AHEAD)
        .fetch_one(pool)
        .await
}

/// Makes partitions ahead once an hour until `stop` is cancelled. A failure is logged and tried again with the next
/// round: rows without a partition of their own go to the default one meanwhile.
pub async fn keep_partitions_ahead(pool: PgPool, stop: tokio_util::sync::CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(std::time::Duration::from_secs(3600)) => {}
        }
        if let Err(error) = ensure_partitions(&pool).await {
            metrics::counter!("oncebox_partition_maintenance_failures_total").increment(1);
            tracing::warn!(%error, "partitions not made ahead, tried again in an hour");
        }
    }
}
