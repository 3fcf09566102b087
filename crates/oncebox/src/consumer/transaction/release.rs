//! A replay that succeeds lets the key go on that was held for it.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::dead_letter::names;
use crate::parking::store;
use crate::record::Delivery;

/// For every processed replay, by its event id and by the identity that its dead letter had.
pub(super) async fn after_replay<M>(
    tx: &mut PgConnection,
    consumer: &str,
    deliveries: &[Delivery<M>],
) -> Result<(), sqlx::Error> {
    let mut events: Vec<Uuid> = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        events.push(delivery.event_id.as_uuid());
        // Bytes that could not be read were kept under an identity of their own.
        let kept = delivery.record.headers.get_str(names::EVENT_ID);
        events.extend(kept.and_then(|id| id.parse::<Uuid>().ok()));
    }
    if events.is_empty() {
        return Ok(());
    }
    store::release_replayed(tx, consumer, &events).await
}
