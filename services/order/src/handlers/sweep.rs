//! The clock: orders that have waited too long for an answer are called off.

use std::time::Duration;

use chrono::{SubsecRound, Utc};
use oncebox::{Cause, Outbox};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::domain::saga::SagaEvent;
use crate::happenings::{OrderDecided, SweepFailed};
use crate::store::locked::lock_stale;
use crate::store::progress::{Decided, Happened, ProgressError, Source, advance};

/// Orders in one transaction: few enough that their locks are held for milliseconds.
const BATCH: i64 = 200;

/// Calls off what has waited longer than `timeout`, every `interval`, until `shutdown`.
///
/// Several instances may sweep at once: each takes what no other holds. A failure is logged, and the
/// next round tries again.
pub async fn run(
    pool: PgPool,
    outbox: Outbox,
    timeout: Duration,
    interval: Duration,
    shutdown: CancellationToken,
) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        measure(&pool).await;
        loop {
            match sweep(&pool, &outbox, timeout).await {
                Ok(decided) => {
                    let found = decided.len();
                    decided
                        .iter()
                        .for_each(|decided| telemetry::emit(OrderDecided(decided)));
                    if found < usize::try_from(BATCH).unwrap_or(usize::MAX)
                        || shutdown.is_cancelled()
                    {
                        break;
                    }
                }
                Err(error) => {
                    telemetry::emit(SweepFailed(&error));
                    break;
                }
            }
        }
    }
}

/// How many orders wait, and for how long: what tells an operator that answers stay away.
async fn measure(pool: &PgPool) {
    let waiting: Result<(i64, Option<f64>), _> = sqlx::query_as(
        "select count(*), extract(epoch from clock_timestamp() - min(placed_at))::float8 \
         from orders where verdict = 'pending'",
    )
    .fetch_one(pool)
    .await;
    // A database that is away is told by the sweep that follows.
    if let Ok((orders, oldest)) = waiting {
        metrics::gauge!("oncebox_order_pending").set(orders as f64);
        metrics::gauge!("oncebox_order_pending_oldest_age_seconds").set(oldest.unwrap_or(0.0));
    }
}

/// Calls off one batch; returns which orders.
///
/// # Errors
/// [`ProgressError`]; nothing was changed then.
pub async fn sweep(
    pool: &PgPool,
    outbox: &Outbox,
    timeout: Duration,
) -> Result<Vec<Decided>, ProgressError> {
    let now = Utc::now().trunc_subsecs(3);
    let mut tx = pool.begin().await?;
    let orders = lock_stale(&mut tx, now - timeout, BATCH).await?;
    // Each order keeps the correlation of its request, so that its whole story has one id.
    let happened: Vec<Happened> = orders
        .values()
        .map(|order| Happened {
            order: order.order_id,
            event: SagaEvent::TimedOut,
            cause: Cause {
                correlation: order.correlation.clone(),
                ..Cause::root()
            },
            source: Source::Clock,
        })
        .collect();
    let decided = advance(&mut tx, outbox, &orders, &happened, now).await?;
    tx.commit().await?;
    Ok(decided)
}
