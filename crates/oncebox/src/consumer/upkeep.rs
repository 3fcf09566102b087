//! Sees to the inbox once an hour, in turn with the other consumers of the database: partitions ahead, old rows forgotten.

use std::time::Duration;

use sqlx::PgPool;
use telemetry::emit;
use tokio_util::sync::CancellationToken;

use super::happening::{InboxKept, InboxNotKept};
use crate::retention;

const EVERY: Duration = Duration::from_secs(3_600);
/// Somewhat shorter, so that turns do not drift.
const TURN: Duration = Duration::from_secs(3_500);

/// Runs until it is told to stop. A round that fails is told and made up for by the next: there are days to spare.
pub(super) async fn run(
    pool: PgPool,
    consumer: String,
    retention: Duration,
    stop: CancellationToken,
) {
    let rounds = async {
        loop {
            if let Err(error) = round(&pool, &consumer, retention).await {
                emit(InboxNotKept {
                    group: &consumer,
                    error: &error.to_string(),
                });
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = rounds => {}
    }
}

async fn round(pool: &PgPool, consumer: &str, retention: Duration) -> Result<(), sqlx::Error> {
    let turn = retention::take_turn(pool, consumer, retention, TURN).await?;
    if let Some(longest) = turn {
        let kept = retention::keep_inbox(pool, longest).await?;
        emit(InboxKept {
            group: consumer,
            kept: &kept,
        });
    }
    Ok(())
}
