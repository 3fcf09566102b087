//! What the saga hears, what it asks for and what it decides.

use super::Verdict;

/// Something that happened to an order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SagaEvent {
    /// Inventory holds every line.
    StockReserved,
    /// Inventory holds nothing, because these lines are short.
    StockRejected(Vec<Shortage>),
    /// The held units have left the stock.
    StockCommitted,
    /// Inventory holds nothing for this order, and never will again.
    StockReleased,
    /// The provider has set the amount aside.
    PaymentAuthorized,
    /// The provider refuses the payment.
    PaymentDeclined {
        /// The provider's stable code.
        code: String,
        /// For people to read.
        reason: String,
    },
    /// The money is taken.
    PaymentCaptured,
    /// Payment holds nothing for this order, and never will again.
    PaymentVoided {
        /// Money had been taken, and was given back.
        refunded: bool,
    },
    /// Somebody asked to cancel.
    CancelRequested {
        /// For people to read.
        reason: String,
    },
    /// The saga waited too long for an answer.
    TimedOut,
}

/// A product of which there is not enough.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Shortage {
    /// The product.
    pub product: String,
    /// Units that the order wants.
    pub wanted: i32,
    /// Units that could have been held.
    pub available: i64,
}

/// What another service is asked to do. Each is safe to repeat.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Command {
    /// Hold every line, or none.
    ReserveStock,
    /// Have the provider set the total aside.
    AuthorizePayment,
    /// Let the held units leave the stock.
    CommitStock,
    /// Take the money that was set aside.
    CapturePayment,
    /// Give back whatever is held, or will be.
    ReleaseStock {
        /// For people to read.
        reason: String,
    },
    /// Give back whatever is set aside or taken, or will be.
    VoidPayment {
        /// For people to read.
        reason: String,
    },
}

impl Command {
    /// The command's name, as its record has it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ReserveStock => "ReserveStock",
            Self::AuthorizePayment => "AuthorizePayment",
            Self::CommitStock => "CommitStock",
            Self::CapturePayment => "CapturePayment",
            Self::ReleaseStock { .. } => "ReleaseStock",
            Self::VoidPayment { .. } => "VoidPayment",
        }
    }
}

/// What the world is told about the order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Stock has left and money is taken.
    Confirmed,
    /// The order will not be carried out.
    Cancelled(Cancellation),
}

/// Why an order was cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cancellation {
    /// `rejected` when a service refused, `cancelled` otherwise.
    pub verdict: Verdict,
    /// Stable code: `insufficient_stock`, `payment_declined`, `customer`, `timeout`, `reservation_lost`
    /// or `authorization_lost`.
    pub code: &'static str,
    /// For people to read.
    pub reason: String,
}
