//! From the event on the wire to a checked command.

use schemas::PaymentCommand;

use super::PaymentFailure;
use crate::domain::command::{Ask, Authorize, Command};
use crate::domain::operation::OrderId;

pub(super) fn of(message: &PaymentCommand) -> Result<Command, PaymentFailure> {
    let order = OrderId(message.order_id());
    let ask = match message {
        PaymentCommand::AuthorizePayment(asked) => Authorize::new(
            &asked.customer_id,
            asked.amount_minor,
            &asked.currency,
            &asked.payment_token,
        )
        .map(Ask::Authorize)
        .map_err(|invalid| PaymentFailure::CommandInvalid { order, invalid })?,
        PaymentCommand::CapturePayment(_) => Ask::Capture,
        PaymentCommand::VoidPayment(_) => Ask::Void,
    };
    Ok(Command { order, ask })
}
