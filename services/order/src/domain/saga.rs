//! The saga of one order: reserve stock, pre-authorise the payment, then commit the stock and capture
//! the money together. A pure function from state and event to the next state and what has to be said.
//!
//! ```text
//! Reserving ──reserved──▶ Authorizing ──authorized──▶ Completing ──both done──▶ Paid
//!     │                        │                          │                      │
//!     └────────────── refused, cancelled, timed out, or lost on the way ─────────┘
//!                                         ▼
//!                      Cancelled: each leg gives back what it holds
//! ```
//!
//! The decision to cancel is taken at once; the legs then undo what they hold, in their own time. A
//! release is final at the other side: a late reservation or authorisation that meets it holds nothing.
//! So a late answer needs no decision here, and a repeated one changes nothing.

mod cancel;
mod event;
mod state;
mod step;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use event::{Cancellation, Command, Outcome, SagaEvent, Shortage};
pub use state::{
    Completion, InconsistentState, PaymentLeg, PaymentUndo, Saga, Status, StockLeg, StockUndo,
    Verdict,
};
pub use step::{Transition, start};
