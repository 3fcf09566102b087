//! What the interface shows and accepts.

use chrono::{DateTime, Utc};
use http_kit::{FieldError, Validate};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::{Level, Product};
use crate::store::reservations::LedgerRow;
use crate::store::stock::StockRow;

/// The longest display name.
const MAX_NAME_CHARS: usize = 256;

/// The stock of a product.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "product": "tea-green-100", "name": "Green tea, 100 g", "on_hand": 40, "reserved": 3, "available": 37,
    "version": 12, "created_at": "2026-03-01T09:00:00Z", "updated_at": "2026-03-02T10:30:00Z"
}))]
pub(super) struct StockView {
    /// The product's name in orders.
    product: String,
    /// Its name for people.
    name: String,
    /// Units in the warehouse.
    on_hand: i64,
    /// Units of these that are held for orders.
    reserved: i64,
    /// Units that can still be sold.
    available: i64,
    /// Goes up with every change; the `ETag` is this number in quotes.
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<StockRow> for StockView {
    fn from(row: StockRow) -> Self {
        Self {
            available: row.on_hand - row.reserved,
            product: row.product,
            name: row.name,
            on_hand: row.on_hand,
            reserved: row.reserved,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// A product of which stock is kept from now on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"product": "tea-green-100", "name": "Green tea, 100 g", "on_hand": 40}))]
pub(super) struct NewStock {
    /// The product's name in orders: 1 to 128 characters.
    pub(super) product: String,
    /// Its name for people, at most 256 characters.
    #[serde(default)]
    pub(super) name: String,
    /// Units in the warehouse.
    #[schema(minimum = 0)]
    pub(super) on_hand: i64,
}

impl Validate for NewStock {
    fn validate(&self) -> Vec<FieldError> {
        let product = Product::parse(self.product.as_str()).err();
        let on_hand = Level::new(self.on_hand, 0).err();
        [
            product.map(|wrong| FieldError::at("/product", wrong.to_string())),
            name_error(&self.name),
            on_hand.map(|wrong| FieldError::at("/on_hand", wrong.to_string())),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// A change of a product's stock: by `delta`, or to a count of `on_hand`; of its `name`; or of both.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"delta": 25}))]
pub(super) struct StockChange {
    /// Units that came in; negative: that went out.
    pub(super) delta: Option<i64>,
    /// Units that were counted. Needs `If-Match` or `version`.
    #[schema(minimum = 0)]
    pub(super) on_hand: Option<i64>,
    /// A new name for people.
    pub(super) name: Option<String>,
    /// The version that the change is meant for, as `If-Match` with its number.
    pub(super) version: Option<i64>,
}

impl Validate for StockChange {
    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        match (self.delta, self.on_hand, &self.name) {
            (Some(_), Some(_), _) => errors.push(FieldError::at(
                "",
                "delta and on_hand exclude each other: add to the stock, or replace it by a count",
            )),
            (None, None, None) => errors.push(FieldError::at(
                "",
                "nothing to change: give delta, on_hand or name",
            )),
            _ => {}
        }
        errors.extend(self.name.as_deref().and_then(name_error));
        errors
    }
}

fn name_error(name: &str) -> Option<FieldError> {
    let chars = name.chars().count();
    if chars > MAX_NAME_CHARS {
        let detail =
            format!("a name has at most {MAX_NAME_CHARS} characters, this one has {chars}");
        return Some(FieldError::at("/name", detail));
    }
    name.chars()
        .any(char::is_control)
        .then(|| FieldError::at("/name", "a name must not contain control characters"))
}

/// What became of an order's wish for stock.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "order_id": "0198c0de-0000-7000-8000-000000000000", "status": "rejected",
    "lines": [{"product": "tea-green-100", "quantity": 5}],
    "shortages": [{"product": "tea-green-100", "wanted": 5, "available": 3}],
    "created_at": "2026-03-01T09:00:00Z", "updated_at": "2026-03-01T09:00:00Z"
}))]
pub(super) struct ReservationView {
    order_id: Uuid,
    /// `reserved`: held; `rejected`: nothing held, stock was short; `committed`: left the warehouse; `released`: given back.
    status: String,
    /// What was asked for; empty when the order was released before it asked.
    lines: Vec<LineView>,
    /// Of a rejected order: what was short.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shortages: Vec<ShortageView>,
    created_at: DateTime<Utc>,
    /// When the status last changed.
    updated_at: DateTime<Utc>,
}

#[derive(Debug, Serialize, ToSchema)]
struct LineView {
    product: String,
    quantity: i64,
}

#[derive(Debug, Serialize, ToSchema)]
struct ShortageView {
    product: String,
    wanted: i64,
    /// What could have been held at that moment.
    available: i64,
}

impl From<LedgerRow> for ReservationView {
    fn from(row: LedgerRow) -> Self {
        let lines = row.lines().map(|(product, quantity)| LineView {
            product: product.to_owned(),
            quantity,
        });
        let shortages = row.shortages.iter().flat_map(|stored| &stored.0);
        Self {
            order_id: row.order_id,
            status: row.status.clone(),
            lines: lines.collect(),
            shortages: shortages
                .map(|stored| ShortageView {
                    product: stored.product.clone(),
                    wanted: stored.wanted,
                    available: stored.available,
                })
                .collect(),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}
