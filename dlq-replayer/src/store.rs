//! The replayer's database: dead letters, replays, and the kit's outbox that carries the replays out.

mod index;
mod letters;
mod replays;

use sqlx::PgPool;
use sqlx::migrate::MigrateError;

pub use index::{index, remove_older};
pub use letters::{
    Filter, LetterRow, LetterSummary, TopicCounts, letter, letters, open_by_topic, topics, value,
};
pub use replays::{
    History, Order, ReplaySummary, Scope, chosen, execute, history, lock, matching, replay_topics,
    replays,
};

/// Creates or updates the tables, the kit's before the replayer's own. Safe at every start and in several processes at once.
///
/// # Errors
/// [`MigrateError`] when the database cannot be reached, or holds a migration that this version does not know.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    oncebox::migrate(pool).await?;
    sqlx::migrate!("./migrations").run(pool).await
}
