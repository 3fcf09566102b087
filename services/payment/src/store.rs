//! The service's SQL: set-based, one statement for a batch of orders.
//!
//! Rows of `payments` are locked in the order of their ids, everywhere, before anything of theirs is changed: two processes
//! (one of them about to learn that its partition is another's) wait for each other instead of deadlocking.

pub mod accounts;
pub mod intents;
pub mod outcomes;
pub mod payments;
pub mod queries;

use sqlx::PgPool;
use sqlx::migrate::MigrateError;

/// Brings the database up to date: the kit's tables, then this service's own.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    oncebox::migrate(pool).await?;
    sqlx::migrate!("./migrations").run(pool).await
}
