//! Compensation: what each leg has to undo when an order is called off.

use super::{
    Cancellation, Command, Outcome, PaymentUndo, Saga, SagaEvent, StockUndo, Transition, Verdict,
};

/// Calls `saga` off because of `event`: decides at once, and asks each leg to give back what it holds
/// or what an answer still under way may say it holds.
pub(super) fn cancel(
    saga: Saga,
    event: &SagaEvent,
    step: &'static str,
    cancellation: Cancellation,
) -> Transition {
    let stock = match event {
        SagaEvent::StockRejected(_) => StockUndo::Rejected,
        SagaEvent::StockReleased => StockUndo::Released,
        // Also while the reservation is still being asked for: commands of one order arrive in order,
        // so the release comes after it and undoes it, whatever its answer was.
        _ => StockUndo::Releasing,
    };
    let payment = match event {
        SagaEvent::PaymentDeclined { .. } => PaymentUndo::Declined,
        SagaEvent::PaymentVoided { refunded: true } => PaymentUndo::Refunded,
        SagaEvent::PaymentVoided { refunded: false } => PaymentUndo::Voided,
        _ if saga == Saga::Reserving => PaymentUndo::NotAsked,
        _ => PaymentUndo::Voiding,
    };
    let mut commands = Vec::new();
    // Money first: it is what the customer misses.
    if payment == PaymentUndo::Voiding {
        commands.push(Command::VoidPayment {
            reason: cancellation.reason.clone(),
        });
    }
    if stock == StockUndo::Releasing {
        commands.push(Command::ReleaseStock {
            reason: cancellation.reason.clone(),
        });
    }
    let rejected = cancellation.verdict == Verdict::Rejected;
    let mut transition = Transition::to(
        Saga::Cancelled {
            rejected,
            stock,
            payment,
        },
        step,
    )
    .asking(commands);
    transition.detail = Some(cancellation.reason.clone());
    transition.deciding(Outcome::Cancelled(cancellation))
}
