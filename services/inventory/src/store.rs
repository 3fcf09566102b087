//! SQL: what a batch of commands locks and writes, and what the HTTP interface reads and changes.

pub mod batch;
pub mod reservations;
pub mod stock;

use oncebox::{Classify, ErrorClass};
use sqlx::PgPool;
use sqlx::migrate::MigrateError;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// Another transaction opened the same order's entry meanwhile (a command and its replay, on two instances).
    /// Nothing was written; the next try finds the other's entry and repeats its answer.
    #[error("another transaction opened a ledger entry of this batch at the same time")]
    LedgerConflict,
    /// A row that the program would never have written.
    #[error("the row of {table} for {key} is not valid: {reason}")]
    Corrupt {
        table: &'static str,
        key: String,
        reason: String,
    },
}

impl Classify for StoreError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Database(error) => error.class(),
            Self::LedgerConflict => ErrorClass::Transient,
            Self::Corrupt { .. } => ErrorClass::Permanent,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Database(error) => Classify::code(error),
            Self::LedgerConflict => "inventory.ledger_conflict",
            Self::Corrupt { .. } => "inventory.corrupt_row",
        }
    }
}

/// Brings the database to this version's tables: the kit's, then inventory's. Safe at every start.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    oncebox::migrate(pool).await?;
    sqlx::migrate!("./migrations").run(pool).await
}
