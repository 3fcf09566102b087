//! What has to be done now and then so that partitions of the kit's tables are ready before their day.

use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::happenings::HousekeepingFailed;

const INTERVAL: Duration = Duration::from_secs(3600);

/// Makes partitions ahead, at start and then every hour, until `shutdown`. A failure is logged, and the next round tries
/// again: there are days to spare.
pub async fn run(pool: PgPool, shutdown: CancellationToken) {
    loop {
        if let Err(error) = oncebox::migrations::ensure_partitions(&pool).await {
            telemetry::emit(HousekeepingFailed {
                task: "partitions",
                error: &error,
            });
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}
