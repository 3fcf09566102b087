//! Events of the order service: what became of an order.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One product of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLine {
    /// Product id.
    pub product: String,
    /// Units wanted, at least 1.
    pub quantity: i32,
    /// Price of one unit in the currency's minor unit.
    pub unit_price_minor: i64,
}

/// An order was accepted for processing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPlaced {
    /// The order, which is also the record's key.
    pub order_id: Uuid,
    /// The customer who placed the order.
    pub customer_id: String,
    /// What was ordered, each product once.
    pub lines: Vec<OrderLine>,
    /// Total in the currency's minor unit.
    pub total_minor: i64,
    /// ISO 4217 alphabetic code.
    pub currency: String,
    /// Where the customer wants to be told; null: nowhere.
    pub email: Option<String>,
    /// When it was accepted.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub placed_at: DateTime<Utc>,
}

/// Stock is committed and the payment captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderConfirmed {
    /// The order, which is also the record's key.
    pub order_id: Uuid,
    /// The customer who placed the order.
    pub customer_id: String,
    /// Total in the currency's minor unit.
    pub total_minor: i64,
    /// ISO 4217 alphabetic code.
    pub currency: String,
    /// Where the customer wants to be told; null: nowhere.
    pub email: Option<String>,
    /// When the last of both was known.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub confirmed_at: DateTime<Utc>,
}

/// The order will not be fulfilled: rejected, cancelled or timed out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderCancelled {
    /// The order, which is also the record's key.
    pub order_id: Uuid,
    /// The customer who placed the order.
    pub customer_id: String,
    /// Where the customer wants to be told; null: nowhere.
    pub email: Option<String>,
    /// Stable code, for example insufficient_stock.
    pub reason_code: String,
    /// The reason for people to read.
    pub reason: String,
    /// When that was decided.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub cancelled_at: DateTime<Utc>,
}

oncebox::event! {
    OrderPlaced = "oncebox.order.OrderPlaced" on "order.events" keyed by |event| event.order_id.to_string(),
    schema include_str!("../avro/oncebox.order.OrderPlaced.avsc")
}
oncebox::event! {
    OrderConfirmed = "oncebox.order.OrderConfirmed" on "order.events" keyed by |event| event.order_id.to_string(),
    schema include_str!("../avro/oncebox.order.OrderConfirmed.avsc")
}
oncebox::event! {
    OrderCancelled = "oncebox.order.OrderCancelled" on "order.events" keyed by |event| event.order_id.to_string(),
    schema include_str!("../avro/oncebox.order.OrderCancelled.avsc")
}
