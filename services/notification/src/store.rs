//! SQL of the notification service: the log of what was and is to be sent.

pub mod intents;
pub mod read;
pub mod results;

use sqlx::PgPool;
use sqlx::migrate::MigrateError;

/// Brings the database to this version: the kit's tables first, then this service's own.
///
/// # Errors
/// [`MigrateError`] when the database cannot be reached or holds a migration that this version does not know.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    oncebox::migrate(pool).await?;
    sqlx::migrate!("./migrations").run(pool).await
}
