//! What the order service asks of this one, checked.

use super::money::{Amount, Currency, Token};
use super::operation::OrderId;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub order: OrderId,
    pub ask: Ask,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    Authorize(Authorize),
    Capture,
    Void,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorize {
    pub customer: String,
    pub amount: Amount,
    pub currency: Currency,
    pub token: Token,
}

/// A field that no payment can be made of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct InvalidField {
    pub field: &'static str,
    pub problem: String,
}

impl Authorize {
    pub fn new(
        customer: &str,
        amount_minor: i64,
        currency: &str,
        token: &str,
    ) -> Result<Self, InvalidField> {
        let invalid = |field, problem: String| InvalidField { field, problem };
        if customer.len() > 200 || customer.chars().any(char::is_control) {
            return Err(invalid(
                "customer_id",
                "must have at most 200 bytes and no control characters".into(),
            ));
        }
        Ok(Self {
            customer: customer.to_owned(),
            amount: Amount::new(amount_minor).ok_or_else(|| {
                invalid(
                    "amount_minor",
                    format!("is {amount_minor} and must be greater than 0"),
                )
            })?,
            currency: Currency::new(currency).ok_or_else(|| {
                invalid(
                    "currency",
                    format!("is {currency:?} and must be an ISO 4217 code such as EUR"),
                )
            })?,
            // The value is left out: it may be a mistyped secret.
            token: Token::new(token).ok_or_else(|| {
                invalid(
                    "payment_token",
                    "must have 1 to 255 visible ASCII characters".into(),
                )
            })?,
        })
    }
}
