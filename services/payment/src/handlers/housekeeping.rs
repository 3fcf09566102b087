//! What runs beside the commands: the count of payments whose outcome is unknown, and partitions made ahead.

use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::happenings::{HousekeepingFailed, UnknownCounted};
use crate::store;

/// Pause between two counts: as often as metrics are usually scraped.
const INTERVAL: Duration = Duration::from_secs(15);
/// So many counts between two rounds of partition making: one an hour, for partitions that are made days ahead.
const COUNTS_BETWEEN_PARTITIONS: u64 = 240;

/// Runs until `stop` is cancelled.
pub async fn watch(pool: PgPool, stop: CancellationToken) {
    for round in 0_u64.. {
        match store::queries::unknown(&pool).await {
            Ok(count) => telemetry::emit(UnknownCounted(count)),
            Err(error) => telemetry::emit(HousekeepingFailed {
                task: "count unknown payments",
                error: &error,
            }),
        }
        if round % COUNTS_BETWEEN_PARTITIONS == 0
            && let Err(error) = oncebox::migrations::ensure_partitions(&pool).await
        {
            telemetry::emit(HousekeepingFailed {
                task: "make partitions ahead",
                error: &error,
            });
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}
