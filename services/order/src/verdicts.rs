//! Lets requests wait for verdicts: one query a moment for all that wait, none when nobody does.
//!
//! The database is asked because the verdict may be decided by any instance of the service, and is one
//! only when its transaction has committed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::store::read;

/// Between two looks at the database. A verdict takes several trips through Kafka, so this is a small part.
const INTERVAL: Duration = Duration::from_millis(20);
/// After a look that failed.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// Who waits for which order. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdicts {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<HashMap<Uuid, Vec<oneshot::Sender<()>>>>,
    arrived: Notify,
}

impl Verdicts {
    /// Waits until the order has its verdict, at most for `limit`. A wait that ends early (the limit, a
    /// shutdown, a database that is away) is no error: the caller looks at the order either way.
    pub(crate) async fn wait(&self, order: Uuid, limit: Duration) {
        let (told, verdict) = oneshot::channel();
        self.waiting().entry(order).or_default().push(told);
        self.inner.arrived.notify_one();
        // Given up, it is dropped; the next look forgets it.
        let _ = tokio::time::timeout(limit, verdict).await;
    }

    /// Serves the waiting until `shutdown`; then lets all of them go.
    pub(crate) async fn run(&self, pool: PgPool, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let orders = self.orders();
            let pause = async {
                if orders.is_empty() {
                    self.inner.arrived.notified().await;
                } else if self.look(&pool, &orders).await {
                    tokio::time::sleep(INTERVAL).await;
                } else {
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = pause => {}
            }
        }
        self.waiting().clear();
    }

    /// Tells those whose order is decided; false when the database did not say.
    async fn look(&self, pool: &PgPool, orders: &[Uuid]) -> bool {
        match read::decided(pool, orders).await {
            Ok(decided) => {
                let mut waiting = self.waiting();
                for told in decided
                    .iter()
                    .filter_map(|order| waiting.remove(order))
                    .flatten()
                {
                    let _ = told.send(());
                }
                true
            }
            Err(error) => {
                tracing::debug!(%error, "verdicts not read");
                false
            }
        }
    }

    /// The orders that somebody still waits for.
    fn orders(&self) -> Vec<Uuid> {
        let mut waiting = self.waiting();
        waiting.retain(|_, told| {
            told.retain(|told| !told.is_closed());
            !told.is_empty()
        });
        waiting.keys().copied().collect()
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Vec<oneshot::Sender<()>>>> {
        // Nobody panics while holding it, and a map of waiters is never half changed.
        self.inner
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
