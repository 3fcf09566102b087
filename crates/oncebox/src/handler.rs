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
/// once for each event id (guarantee G5). When it fails, everything is rolled back, and what happens next depends on what
/// the handler knows:
///
/// - [`BatchFailure::Records`]: which records failed, and how. Each is retried, parked or dead-lettered by its own class, and
///   the others are handled again, together, in one further transaction. Records behind a failed one of the same key
///   wait for it. Costs one more call of the handler, however many records failed.
/// - [`BatchFailure::Whole`]: that something failed. The batch is halved until the record is found, about log2(records) calls;
///   with the class [`Outage`](crate::ErrorClass::Outage) it is nobody's fault, and one record at a time probes.
///
/// ```
/// use oncebox::{BatchFailure, BatchHandler, Delivery, ErrorClass, Failure, Raw};
///
/// const NO_ACCOUNT: &str = "book.no_account";
///
/// struct Book;
///
/// #[async_trait::async_trait]
/// impl BatchHandler for Book {
///     type Message = Raw;
///
///     async fn handle(
///         &self,
///         tx: &mut sqlx::PgConnection,
///         batch: &[Delivery<Raw>],
///     ) -> Result<(), BatchFailure> {
///         let refused = batch.iter().enumerate().filter(|(_, delivery)| delivery.record.key.is_none());
///         let refused: Vec<_> = refused
///             .map(|(index, _)| {
///                 (index, Failure::new(ErrorClass::Permanent, NO_ACCOUNT, "the record names no account"))
///             })
///             .collect();
///         if !refused.is_empty() {
///             return Err(BatchFailure::Records(refused));
///         }
///         let accounts: Vec<&[u8]> = batch.iter().filter_map(|delivery| delivery.record.key.as_deref()).collect();
///         sqlx::query("insert into bookings (account) select unnest($1::bytea[])")
///             .bind(accounts)
///             .execute(tx)
///             .await?;
///         Ok(())
///     }
/// }
/// ```
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

    /// Whether records with this message need no order; they do. Decide by the event type.
    ///
    /// Such a record goes its own way: it comes to [`BatchHandler::prepare`] and [`BatchHandler::handle`] as a batch of one,
    /// in a transaction of its own, beside the rest of its batch and up to
    /// [`order_free_at_once`](crate::ConsumerSettings::order_free_at_once) others of its partition. So one that is slow holds
    /// up none, of whatever key, until as many are slow at once. When it fails it is parked or dead-lettered alone, and its
    /// key goes on; from the parking it is tried in turn with the partition's parked keys. Everything else stays as it is: effects happen once for each event id, and the offset follows when all
    /// records before it are finished.
    ///
    /// It pays where handling is slow, such as a call of another system. Where it is quick, a batch in one transaction is
    /// quicker than many transactions at once.
    fn order_free(&self, message: &Self::Message) -> bool {
        let _ = message;
        false
    }

    /// Whether [`BatchHandler::prepare`] does anything; true. A handler that prepares nothing may say false, which saves a
    /// query for each batch: events that are finished already are then found by the transaction alone. One that does prepare must
    /// not: it would be called for them.
    fn prepares(&self) -> bool {
        true
    }

    /// Whether a failure that names records says nothing of those behind them, because the handler stopped there.
    ///
    /// A handler that looks at the whole batch (the default) names all that it finds with [`BatchFailure::Records`], and the
    /// others go through together in one further transaction. One that goes from record to record and stops at the first that
    /// fails loses less when those before it are committed first: it says `true` here.
    fn stops_at_failure(&self) -> bool {
        false
    }

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

    /// As [`BatchHandler::prepares`].
    fn prepares(&self) -> bool {
        true
    }

    /// As [`BatchHandler::order_free`].
    fn order_free(&self, message: &Self::Message) -> bool {
        let _ = message;
        false
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

    fn prepares(&self) -> bool {
        self.0.prepares()
    }

    fn order_free(&self, message: &Self::Message) -> bool {
        self.0.order_free(message)
    }

    fn stops_at_failure(&self) -> bool {
        true
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
