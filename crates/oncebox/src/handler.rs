//! What a service implements to consume: a batch of records in one transaction, or one record at a time.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use sqlx::PgConnection;

use crate::failure::{BatchFailure, Failure};
use crate::message::Message;
use crate::record::Delivery;

/// Handles the fresh records of one partition, in order, in one database transaction.
///
/// The transaction also holds the inbox rows of these records and the events that they lead to, so effects happen
/// once for each event id (guarantee G5). When it fails, everything is rolled back and the batch is taken apart.
#[async_trait]
pub trait BatchHandler: Send + Sync + 'static {
    /// What the records decode to.
    type Message: Message;

    /// Work that must not hold a transaction open, such as calls of other systems.
    ///
    /// It may be repeated for the same record, also after it succeeded: it must be idempotent, and keep in the
    /// database whatever [`BatchHandler::handle`] needs of its result.
    ///
    /// # Errors
    /// As for [`BatchHandler::handle`].
    async fn prepare(&self, batch: &[Delivery<Self::Message>]) -> Result<(), BatchFailure> {
        let _ = batch;
        Ok(())
    }

    /// The effects of the batch, in the caller's transaction: neither commit nor roll back.
    ///
    /// # Errors
    /// [`BatchFailure`], with the class that says what happens to the record to blame.
    async fn handle(
        &self,
        tx: &mut PgConnection,
        batch: &[Delivery<Self::Message>],
    ) -> Result<(), BatchFailure>;

    /// How long one call with that many records may take before it is cut and counted as a transient failure;
    /// `timeout` is the consumer's setting.
    fn time_limit(&self, timeout: Duration, records: usize) -> Duration {
        let _ = records;
        timeout
    }
}

/// Handles one record. Wrap it in [`Each`] where a [`BatchHandler`] is wanted.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// What the records decode to.
    type Message: Message;

    /// As [`BatchHandler::prepare`], for one record.
    ///
    /// # Errors
    /// As for [`Handler::handle`].
    async fn prepare(&self, delivery: &Delivery<Self::Message>) -> Result<(), Failure> {
        let _ = delivery;
        Ok(())
    }

    /// The effects of one record, in the caller's transaction: neither commit nor roll back.
    ///
    /// The telemetry context is the record's, so events appended meanwhile carry its correlation and cause.
    ///
    /// # Errors
    /// [`Failure`], with the class that says what happens to the record.
    async fn handle(
        &self,
        tx: &mut PgConnection,
        delivery: &Delivery<Self::Message>,
    ) -> Result<(), Failure>;
}

/// Makes a [`BatchHandler`] of a [`Handler`]: one record after the other, in the batch's transaction.
#[derive(Debug, Clone)]
pub struct Each<H>(pub H);

#[async_trait]
impl<H: Handler> BatchHandler for Each<H> {
    type Message = H::Message;

    async fn prepare(&self, batch: &[Delivery<Self::Message>]) -> Result<(), BatchFailure> {
        for (index, delivery) in batch.iter().enumerate() {
            guarded(in_context(delivery, self.0.prepare(delivery)))
                .await
                .map_err(|failure| to_blame(index, failure))?;
        }
        Ok(())
    }

    async fn handle(
        &self,
        tx: &mut PgConnection,
        batch: &[Delivery<Self::Message>],
    ) -> Result<(), BatchFailure> {
        for (index, delivery) in batch.iter().enumerate() {
            guarded(in_context(delivery, self.0.handle(&mut *tx, delivery)))
                .await
                .map_err(|failure| to_blame(index, failure))?;
        }
        Ok(())
    }

    fn time_limit(&self, timeout: Duration, records: usize) -> Duration {
        // Each record is cut by itself below; this only ends what that could not.
        timeout.saturating_mul(u32::try_from(records.saturating_add(1)).unwrap_or(u32::MAX))
    }
}

tokio::task_local! {
    /// The consumer's time limit for one call of a handler.
    static CALL_LIMIT: Duration;
}

/// Runs `work` with the time limit that [`Each`] sets for each record.
pub(crate) async fn with_call_limit<F: Future>(limit: Duration, work: F) -> F::Output {
    CALL_LIMIT.scope(limit, work).await
}

/// A panic or a hang costs its record an attempt; the records before it in the batch are not tried again for it.
async fn guarded(call: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let limit = CALL_LIMIT.try_with(|limit| *limit).unwrap_or(Duration::MAX);
    match tokio::time::timeout(limit, AssertUnwindSafe(call).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(Failure::panicked(panic.as_ref())),
        Err(_) => Err(Failure::timed_out(limit)),
    }
}

/// The records before it were not to blame, and those after it were not tried: only this one is known to fail.
fn to_blame(index: usize, failure: Failure) -> BatchFailure {
    BatchFailure::Records(vec![(index, failure)])
}

async fn in_context<M, F: Future>(delivery: &Delivery<M>, work: F) -> F::Output {
    let cause = delivery.cause();
    let context = telemetry::Context {
        correlation: cause.correlation,
        causation: cause.causation.map(|id| id.as_uuid()),
        trace: cause.trace,
    };
    telemetry::context::scope(context, work).await
}
