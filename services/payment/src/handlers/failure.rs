//! Why a command could not be carried out, beside what the provider says.

use oncebox::{Classify, ErrorClass};

use crate::domain::command::{Ask, Command, InvalidField};
use crate::domain::decision::Refusal;
use crate::domain::operation::OrderId;

#[derive(Debug, thiserror::Error)]
pub enum PaymentFailure {
    #[error(
        "no merchant account is set for {currency}, so the provider was not asked about order {order}: \
         PUT /v1/merchant-accounts/{currency} on the payment service, then replay this record"
    )]
    MerchantAccountMissing { order: OrderId, currency: String },
    #[error("order {order} cannot be captured: {why}")]
    NotCapturable { order: OrderId, why: &'static str },
    #[error("the command for order {order} cannot be carried out: {invalid}")]
    CommandInvalid {
        order: OrderId,
        invalid: InvalidField,
    },
    /// Another process changed the payment between the two phases; the first phase will find out.
    #[error("the payment of order {order} is not settled yet")]
    NotPrepared { order: OrderId },
    /// The rules ask for more steps than any way through them has.
    #[error(
        "the payment of order {order} does not settle; see GET /v1/payments/{order} for what the provider was asked"
    )]
    NotSettling { order: OrderId },
}

impl PaymentFailure {
    pub(super) fn refused(command: &Command, refusal: Refusal) -> Self {
        let order = command.order;
        match (refusal, &command.ask) {
            (Refusal::MerchantAccountMissing, Ask::Authorize(ask)) => {
                Self::MerchantAccountMissing {
                    order,
                    currency: ask.currency.to_string(),
                }
            }
            (Refusal::VoidBegun, _) => Self::NotCapturable {
                order,
                why: "its void was begun; the void has to be settled first",
            },
            _ => Self::NotCapturable {
                order,
                why: "it was never authorised",
            },
        }
    }
}

impl Classify for PaymentFailure {
    fn class(&self) -> ErrorClass {
        match self {
            Self::MerchantAccountMissing { .. }
            | Self::NotCapturable { .. }
            | Self::CommandInvalid { .. } => ErrorClass::Permanent,
            Self::NotPrepared { .. } | Self::NotSettling { .. } => ErrorClass::Transient,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::MerchantAccountMissing { .. } => "payment.merchant_account_missing",
            Self::NotCapturable { .. } => "payment.not_capturable",
            Self::CommandInvalid { .. } => "payment.command_invalid",
            Self::NotPrepared { .. } | Self::NotSettling { .. } => "payment.not_settled",
        }
    }
}
