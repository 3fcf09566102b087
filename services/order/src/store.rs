//! SQL of the order service: its tables, what is read for the API, and the one way in which orders move on.

pub mod insert;
pub mod locked;
pub mod progress;
pub mod read;
mod steps;

use sqlx::PgPool;
use sqlx::migrate::MigrateError;

/// Brings the database to this version: the kits' tables first, then this service's own.
///
/// # Errors
/// [`MigrateError`] when the database cannot be reached or holds a migration that this version does not know.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    oncebox::migrate(pool).await?;
    http_kit::idempotency::migrate(pool)
        .await
        .map_err(MigrateError::Execute)?;
    sqlx::migrate!("./migrations").run(pool).await
}
