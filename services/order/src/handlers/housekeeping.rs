//! What has to be done now and then so that tables stay small and partitions ready.

use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::happenings::{HousekeepingFailed, KeysForgotten};

const INTERVAL: Duration = Duration::from_secs(3600);

/// Forgets idempotency keys older than `age` and makes partitions ahead, at start and then every hour, until
/// `shutdown`. A failure is logged, and the next round tries again: there are days to spare.
pub async fn run(pool: PgPool, age: Duration, shutdown: CancellationToken) {
    loop {
        match http_kit::idempotency::purge(&pool, age).await {
            Ok(0) => {}
            Ok(keys) => telemetry::emit(KeysForgotten { keys }),
            Err(error) => telemetry::emit(HousekeepingFailed {
                task: "idempotency keys",
                error: &error,
            }),
        }
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
