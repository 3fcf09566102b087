//! Wakes relays that are at rest, a moment after something was written.
//!
//! Not inside the business transaction: there `notify` takes a lock of the whole database until the commit is flushed, and
//! writers commit one after the other. Here a task of its own says it once for all that was written within a few milliseconds,
//! over a connection that nobody needs just then. If it comes before the commit, or not at all, the relay's next look
//! finds the row: the relay looks more often for a while when it was woken, and about twice a second in any case.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::mpsc;

/// The channel of PostgreSQL's `notify`.
pub const CHANNEL: &str = "oncebox_outbox";

/// Most transactions have committed so long after their insert.
const AFTER_WRITING: Duration = Duration::from_millis(2);
/// Between two calls, however much is written.
const BETWEEN: Duration = Duration::from_millis(5);

/// Says, some time soon, that something was written.
#[derive(Debug, Clone)]
pub(super) struct Waker {
    pool: Option<PgPool>,
    /// Room for one: what is written while a call is due is told by that call.
    calls: Arc<OnceLock<mpsc::Sender<()>>>,
}

impl Waker {
    /// Without a pool nobody is woken.
    pub(super) fn new(pool: Option<PgPool>) -> Self {
        Self {
            pool,
            calls: Arc::default(),
        }
    }

    pub(super) fn soon(&self) {
        let Some(pool) = &self.pool else { return };
        let calls = self.calls.get_or_init(|| {
            let (calls, due) = mpsc::channel(1);
            tokio::spawn(call(pool.clone(), due));
            calls
        });
        // A full channel is a call that is due.
        let _ = calls.try_send(());
    }
}

/// Until the outbox and all its clones are gone.
async fn call(pool: PgPool, mut due: mpsc::Receiver<()>) {
    while due.recv().await.is_some() {
        tokio::time::sleep(AFTER_WRITING).await;
        // Where every connection is busy the relay has enough to do.
        if let Some(mut connection) = pool.try_acquire() {
            let told = sqlx::query("select pg_notify($1, '')")
                .bind(CHANNEL)
                .execute(&mut *connection)
                .await;
            if let Err(error) = told {
                tracing::debug!(%error, "relay not woken");
            }
        }
        tokio::time::sleep(BETWEEN).await;
    }
}
