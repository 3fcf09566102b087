//! Handlers without Kafka: deliveries as a consumer would hand them over, and its transaction around them.

use oncebox::headers::names;
use oncebox::{BatchFailure, BatchHandler, Delivery, EventId, Headers, Record};
use sqlx::PgPool;

/// The correlation of every [`delivery`].
pub const CORRELATION: &str = "correlation-of-the-test";

/// A message as the consumer would hand it over, with an event id that was never seen. It has no key and no value: what
/// the handler needs of those, the test sets.
pub fn delivery<M>(topic: &str, message: M) -> Delivery<M> {
    let event_id = EventId::new();
    let mut headers = Headers::new();
    headers.push(names::CORRELATION_ID, CORRELATION);
    headers.push(names::ID, event_id.to_string());
    Delivery {
        message,
        event_id,
        record: Record {
            topic: topic.to_owned(),
            partition: 0,
            offset: 0,
            timestamp: None,
            key: None,
            value: None,
            headers,
        },
    }
}

/// Handles a batch as the consumer does: prepared, then in one transaction, which is committed when the handler succeeds
/// and rolled back when it fails. What makes a consumer of it, such as deduplication and retries, is left out.
///
/// # Errors
/// The handler's.
///
/// # Panics
/// When the database does not answer.
pub async fn handle<H: BatchHandler>(
    pool: &PgPool,
    handler: &H,
    batch: &[Delivery<H::Message>],
) -> Result<(), BatchFailure> {
    handler.prepare(batch).await?;
    let mut tx = pool.begin().await.unwrap();
    handler.handle(&mut tx, batch).await?;
    tx.commit().await.unwrap();
    Ok(())
}
