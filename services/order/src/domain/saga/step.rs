//! The one function that moves a saga on.

use super::cancel::cancel;
use super::{
    Cancellation, Command, Completion, Outcome, PaymentUndo, Saga, SagaEvent, StockUndo, Verdict,
};

/// What an event does to a saga.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The state from now on.
    pub saga: Saga,
    /// What the timeline says happened, such as `stock.reserved`.
    pub step: &'static str,
    /// More about it, for people to read.
    pub detail: Option<String>,
    /// What the other services are asked to do, in this order.
    pub commands: Vec<Command>,
    /// What the world is told, where this event decided the order.
    pub outcome: Option<Outcome>,
}

/// A new order: the stock is asked for.
#[must_use]
pub fn start() -> Transition {
    Transition::to(Saga::Reserving, "order.placed").asking([Command::ReserveStock])
}

impl Saga {
    /// What `event` does in this state, or nothing when it is a repeat, or an answer that came too late
    /// to matter.
    #[must_use]
    pub fn on(self, event: &SagaEvent) -> Option<Transition> {
        match self {
            Self::Reserving => reserving(event),
            Self::Authorizing => authorizing(event),
            Self::Completing(done) => completing(done, event),
            Self::Paid => None,
            Self::Cancelled {
                rejected,
                stock,
                payment,
            } => {
                return cancelled(rejected, stock, payment, event);
            }
        }
        .or_else(|| called_off(self, event))
    }
}

fn reserving(event: &SagaEvent) -> Option<Transition> {
    match event {
        SagaEvent::StockReserved => Some(
            Transition::to(Saga::Authorizing, "stock.reserved").asking([Command::AuthorizePayment]),
        ),
        SagaEvent::StockRejected(shortages) => {
            let short = shortages.iter().map(|short| {
                format!(
                    "{} (wanted {}, available {})",
                    short.product, short.wanted, short.available
                )
            });
            let short = short.collect::<Vec<_>>().join(", ");
            let reason = match shortages.len() {
                1 => format!("insufficient stock for product {short}"),
                _ => format!("insufficient stock for products {short}"),
            };
            Some(cancel(
                Saga::Reserving,
                event,
                "stock.rejected",
                Cancellation {
                    verdict: Verdict::Rejected,
                    code: "insufficient_stock",
                    reason,
                },
            ))
        }
        _ => None,
    }
}

fn authorizing(event: &SagaEvent) -> Option<Transition> {
    match event {
        SagaEvent::PaymentAuthorized => Some(
            Transition::to(Saga::Completing(Completion::Neither), "payment.authorized")
                .asking([Command::CommitStock, Command::CapturePayment]),
        ),
        _ => None,
    }
}

fn completing(done: Completion, event: &SagaEvent) -> Option<Transition> {
    match (done, event) {
        (Completion::Neither, SagaEvent::StockCommitted) => Some(Transition::to(
            Saga::Completing(Completion::StockCommitted),
            "stock.committed",
        )),
        (Completion::Neither, SagaEvent::PaymentCaptured) => Some(Transition::to(
            Saga::Completing(Completion::PaymentCaptured),
            "payment.captured",
        )),
        (Completion::PaymentCaptured, SagaEvent::StockCommitted) => {
            Some(Transition::to(Saga::Paid, "stock.committed").deciding(Outcome::Confirmed))
        }
        (Completion::StockCommitted, SagaEvent::PaymentCaptured) => {
            Some(Transition::to(Saga::Paid, "payment.captured").deciding(Outcome::Confirmed))
        }
        _ => None,
    }
}

/// What calls an order off, wherever it stands. Losing what was held without having asked for it (a
/// reservation that expired, an authorisation that the provider dropped) is among it: the order cannot
/// be carried out any more, and the other leg has to be undone.
fn called_off(saga: Saga, event: &SagaEvent) -> Option<Transition> {
    let payment_asked = saga != Saga::Reserving;
    let pending = saga != Saga::Paid;
    let (step, verdict, code, reason) = match event {
        SagaEvent::CancelRequested { reason } => (
            "order.cancel_requested",
            Verdict::Cancelled,
            "customer",
            reason.clone(),
        ),
        SagaEvent::TimedOut if pending => (
            "order.timed_out",
            Verdict::Cancelled,
            "timeout",
            "order processing timeout".to_owned(),
        ),
        SagaEvent::StockReleased => (
            "stock.released",
            Verdict::Cancelled,
            "reservation_lost",
            "the stock was released before it was asked back".to_owned(),
        ),
        SagaEvent::PaymentDeclined { code, reason } if payment_asked && pending => (
            "payment.declined",
            Verdict::Rejected,
            "payment_declined",
            format!("the payment was declined: {reason} ({code})"),
        ),
        SagaEvent::PaymentVoided { .. } if payment_asked => (
            "payment.voided",
            Verdict::Cancelled,
            "authorization_lost",
            "the payment was voided before it was asked back".to_owned(),
        ),
        _ => return None,
    };
    Some(cancel(
        saga,
        event,
        step,
        Cancellation {
            verdict,
            code,
            reason,
        },
    ))
}

/// A cancelled order only waits for its legs to report that nothing is held.
fn cancelled(
    rejected: bool,
    stock: StockUndo,
    payment: PaymentUndo,
    event: &SagaEvent,
) -> Option<Transition> {
    let stock_now = |stock| Saga::Cancelled {
        rejected,
        stock,
        payment,
    };
    let payment_now = |payment| Saga::Cancelled {
        rejected,
        stock,
        payment,
    };
    let (saga, step) = match (stock, payment, event) {
        (StockUndo::Releasing, _, SagaEvent::StockReleased) => {
            (stock_now(StockUndo::Released), "stock.released")
        }
        (StockUndo::Releasing, _, SagaEvent::StockRejected(_)) => {
            (stock_now(StockUndo::Rejected), "stock.rejected")
        }
        (_, PaymentUndo::Voiding, SagaEvent::PaymentVoided { refunded: true }) => {
            (payment_now(PaymentUndo::Refunded), "payment.refunded")
        }
        (_, PaymentUndo::Voiding, SagaEvent::PaymentVoided { refunded: false }) => {
            (payment_now(PaymentUndo::Voided), "payment.voided")
        }
        (_, PaymentUndo::Voiding, SagaEvent::PaymentDeclined { .. }) => {
            (payment_now(PaymentUndo::Declined), "payment.declined")
        }
        // Payment was never asked, and yet something is set aside: give it back.
        (_, PaymentUndo::NotAsked, SagaEvent::PaymentAuthorized | SagaEvent::PaymentCaptured) => {
            let reason = "the order was cancelled before the payment was asked for".to_owned();
            return Some(
                Transition::to(payment_now(PaymentUndo::Voiding), "payment.unexpected")
                    .asking([Command::VoidPayment { reason }]),
            );
        }
        _ => return None,
    };
    Some(Transition::to(saga, step))
}

impl Transition {
    pub(super) fn to(saga: Saga, step: &'static str) -> Self {
        Self {
            saga,
            step,
            detail: None,
            commands: Vec::new(),
            outcome: None,
        }
    }

    pub(super) fn asking(mut self, commands: impl Into<Vec<Command>>) -> Self {
        self.commands = commands.into();
        self
    }

    pub(super) fn deciding(mut self, outcome: Outcome) -> Self {
        self.outcome = Some(outcome);
        self
    }
}
