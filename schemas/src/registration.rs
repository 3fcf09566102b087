//! Registers every event's schema, each subject at FULL_TRANSITIVE: old and new programs read each other's records.

use oncebox::codec::{Registry, RegistryError};
use oncebox::{Event, EventSchema};

use crate::{inventory as i, notification as n, order as o, payment as p};

/// An event type without its Rust type: what registration and tests need of all of them alike.
#[derive(Debug, Clone)]
pub struct Registered {
    /// Full record name.
    pub name: &'static str,
    /// Topic, without prefix.
    pub topic: &'static str,
    /// The registry's subject.
    pub subject: String,
    /// The schema file's text.
    pub text: &'static str,
    /// The parsed schema.
    pub schema: &'static EventSchema,
}

/// Every event type of the platform.
pub fn all() -> Vec<Registered> {
    macro_rules! list {
        ($($event:ty),+ $(,)?) => { vec![$(of::<$event>()),+] };
    }
    list![
        o::OrderPlaced,
        o::OrderConfirmed,
        o::OrderCancelled,
        i::ReserveStock,
        i::CommitStock,
        i::ReleaseStock,
        i::StockReserved,
        i::StockRejected,
        i::StockCommitted,
        i::StockReleased,
        p::AuthorizePayment,
        p::CapturePayment,
        p::VoidPayment,
        p::PaymentAuthorized,
        p::PaymentDeclined,
        p::PaymentCaptured,
        p::PaymentVoided,
        n::NotificationSent,
        n::NotificationFailed,
    ]
}

fn of<E: Event>() -> Registered {
    Registered {
        name: E::TYPE,
        topic: E::TOPIC,
        subject: E::subject(),
        text: E::SCHEMA,
        schema: E::schema(),
    }
}

/// Registers all of them; returns how many there are. Safe to repeat.
///
/// # Errors
/// [`RegistryError::Refused`] when a schema is not compatible with one that was registered before.
pub async fn register_all(registry: &Registry) -> Result<usize, RegistryError> {
    let events = all();
    for event in &events {
        // Before the schema: otherwise a first incompatible change would slip through at the registry's own default.
        registry
            .set_compatibility(&event.subject, "FULL_TRANSITIVE")
            .await?;
        registry.register(&event.subject, event.text).await?;
    }
    Ok(events.len())
}
