//! Commands to the payment service and its events.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Command: have the provider set the amount aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizePayment {
    /// The order, which is also the record's key.
    pub order_id: Uuid,
    /// The customer who placed the order.
    pub customer_id: String,
    /// Amount in the currency's minor unit.
    pub amount_minor: i64,
    /// ISO 4217 alphabetic code.
    pub currency: String,
    /// The provider's token for the means of payment.
    pub payment_token: String,
}

/// Command: collect the authorised amount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturePayment {
    /// The order, which is also the record's key.
    pub order_id: Uuid,
}

/// Command: let the authorisation go, or refund what was captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoidPayment {
    /// The order, which is also the record's key.
    pub order_id: Uuid,
    /// Why, for people to read.
    pub reason: String,
}

/// The amount is set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentAuthorized {
    /// The order, which is also the record's key.
    pub order_id: Uuid,
    /// The provider's id.
    pub authorization_id: String,
}

/// The provider refuses; nothing is set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentDeclined {
    /// The order, which is also the record's key.
    pub order_id: Uuid,
    /// The provider's code.
    pub reason_code: String,
    /// For people to read.
    pub reason: String,
}

/// The amount is collected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentCaptured {
    /// The order, which is also the record's key.
    pub order_id: Uuid,
    /// The provider's id.
    pub capture_id: String,
}

/// No money of the order is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentVoided {
    /// The order, which is also the record's key.
    pub order_id: Uuid,
    /// Whether a captured amount was given back.
    pub refunded: bool,
}

oncebox::event! {
    AuthorizePayment = "oncebox.payment.AuthorizePayment" on "payment.commands" keyed by |event| event.order_id.to_string(),
    schema include_str!("../avro/oncebox.payment.AuthorizePayment.avsc")
}
oncebox::event! {
    CapturePayment = "oncebox.payment.CapturePayment" on "payment.commands" keyed by |event| event.order_id.to_string(),
    schema include_str!("../avro/oncebox.payment.CapturePayment.avsc")
}
oncebox::event! {
    VoidPayment = "oncebox.payment.VoidPayment" on "payment.commands" keyed by |event| event.order_id.to_string(),
    schema include_str!("../avro/oncebox.payment.VoidPayment.avsc")
}
oncebox::event! {
    PaymentAuthorized = "oncebox.payment.PaymentAuthorized" on "payment.events" keyed by |event| event.order_id.to_string(),
    schema include_str!("../avro/oncebox.payment.PaymentAuthorized.avsc")
}
oncebox::event! {
    PaymentDeclined = "oncebox.payment.PaymentDeclined" on "payment.events" keyed by |event| event.order_id.to_string(),
    schema include_str!("../avro/oncebox.payment.PaymentDeclined.avsc")
}
oncebox::event! {
    PaymentCaptured = "oncebox.payment.PaymentCaptured" on "payment.events" keyed by |event| event.order_id.to_string(),
    schema include_str!("../avro/oncebox.payment.PaymentCaptured.avsc")
}
oncebox::event! {
    PaymentVoided = "oncebox.payment.PaymentVoided" on "payment.events" keyed by |event| event.order_id.to_string(),
    schema include_str!("../avro/oncebox.payment.PaymentVoided.avsc")
}
