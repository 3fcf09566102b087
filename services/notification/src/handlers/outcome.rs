//! The records that customers are told of.

use schemas::order::{OrderCancelled, OrderConfirmed};
use uuid::Uuid;

use crate::domain::money::Money;
use crate::domain::{Letter, Outcome, Recipient, Template};

oncebox::messages! {
    /// What the group `notification` reads on `order.events`. That an order was placed is no news to whoever placed it.
    pub enum OrderOutcome { OrderConfirmed, OrderCancelled }
    others skip
}

impl OrderOutcome {
    /// The order that it is about.
    #[must_use]
    pub fn order_id(&self) -> Uuid {
        match self {
            Self::OrderConfirmed(event) => event.order_id,
            Self::OrderCancelled(event) => event.order_id,
        }
    }

    /// Which text tells of it.
    #[must_use]
    pub fn template(&self) -> Template {
        match self {
            Self::OrderConfirmed(_) => Template::OrderConfirmed,
            Self::OrderCancelled(_) => Template::OrderCancelled,
        }
    }

    /// Where the customer wants to be told.
    pub(super) fn recipient(&self) -> Option<Recipient> {
        Recipient::new(match self {
            Self::OrderConfirmed(event) => event.email.as_deref(),
            Self::OrderCancelled(event) => event.email.as_deref(),
        })
    }

    /// What the customer reads.
    pub(super) fn letter(&self) -> Letter {
        match self {
            Self::OrderConfirmed(event) => {
                let total = Money {
                    minor: event.total_minor,
                    currency: event.currency.clone(),
                };
                Outcome::Confirmed { total }.letter(event.order_id, &event.customer_id)
            }
            Self::OrderCancelled(event) => {
                let (code, reason) = (event.reason_code.clone(), event.reason.clone());
                Outcome::Cancelled { code, reason }.letter(event.order_id, &event.customer_id)
            }
        }
    }
}
