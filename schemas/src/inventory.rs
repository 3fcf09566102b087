//! Commands to the inventory service and its events.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Units of one product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockLine {
    /// Product id.
    pub product: String,
    /// Units to hold, at least 1.
    pub quantity: i32,
}

/// Command: hold all lines of an order, or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReserveStock {
    /// The order, which is also the record's key.
    pub order_id: Uuid,
    /// What to hold, each product once.
    pub lines: Vec<StockLine>,
}

/// Command: the order's reserved units leave the stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitStock {
    /// The order, which is also the record's key.
    pub order_id: Uuid,
}

/// Command: give back whatever the order holds or held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseStock {
    /// The order, which is also the record's key.
    pub order_id: Uuid,
    /// Why, for people to read.
    pub reason: String,
}

/// All lines of the order are held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockReserved {
    /// The order, which is also the record's key.
    pub order_id: Uuid,
}

/// A product of which there is not enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// Product id.
    pub product: String,
    /// Units that the order wants.
    pub wanted: i32,
    /// Units that could have been held.
    pub available: i64,
}

/// Nothing is held, because at least one line is short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockRejected {
    /// The order, which is also the record's key.
    pub order_id: Uuid,
    /// Every line that is short.
    pub shortages: Vec<Shortage>,
}

/// The order's units have left the stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockCommitted {
    /// The order, which is also the record's key.
    pub order_id: Uuid,
}

/// The order holds nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockReleased {
    /// The order, which is also the record's key.
    pub order_id: Uuid,
}

oncebox::event! {
    ReserveStock = "oncebox.inventory.ReserveStock" on "inventory.commands" keyed by |event| event.order_id.to_string(),
    schema include_str!("../avro/oncebox.inventory.ReserveStock.avsc")
}
oncebox::event! {
    CommitStock = "oncebox.inventory.CommitStock" on "inventory.commands" keyed by |event| event.order_id.to_string(),
    schema include_str!("../avro/oncebox.inventory.CommitStock.avsc")
}
oncebox::event! {
    ReleaseStock = "oncebox.inventory.ReleaseStock" on "inventory.commands" keyed by |event| event.order_id.to_string(),
    schema include_str!("../avro/oncebox.inventory.ReleaseStock.avsc")
}
oncebox::event! {
    StockReserved = "oncebox.inventory.StockReserved" on "inventory.events" keyed by |event| event.order_id.to_string(),
    schema include_str!("../avro/oncebox.inventory.StockReserved.avsc")
}
oncebox::event! {
    StockRejected = "oncebox.inventory.StockRejected" on "inventory.events" keyed by |event| event.order_id.to_string(),
    schema include_str!("../avro/oncebox.inventory.StockRejected.avsc")
}
oncebox::event! {
    StockCommitted = "oncebox.inventory.StockCommitted" on "inventory.events" keyed by |event| event.order_id.to_string(),
    schema include_str!("../avro/oncebox.inventory.StockCommitted.avsc")
}
oncebox::event! {
    StockReleased = "oncebox.inventory.StockReleased" on "inventory.events" keyed by |event| event.order_id.to_string(),
    schema include_str!("../avro/oncebox.inventory.StockReleased.avsc")
}
