//! What can go wrong with a request for this service, apart from what every service knows.

use http_kit::{Kind, Problem, StatusCode};
use uuid::Uuid;

use super::precondition::etag;
use crate::domain::{LevelError, Product};
use crate::store::StoreError;
use crate::store::stock::StockRow;

pub(super) const PRODUCT_NOT_FOUND: Kind = Kind::new(
    StatusCode::NOT_FOUND,
    "inventory.product_not_found",
    "no stock is kept of this product",
);
pub(super) const PRODUCT_EXISTS: Kind = Kind::new(
    StatusCode::CONFLICT,
    "inventory.product_exists",
    "stock is kept of this product already",
);
pub(super) const RESERVATION_NOT_FOUND: Kind = Kind::new(
    StatusCode::NOT_FOUND,
    "inventory.reservation_not_found",
    "this order never asked for stock",
);
pub(super) const VERSION_CONFLICT: Kind = Kind::new(
    StatusCode::PRECONDITION_FAILED,
    "inventory.version_conflict",
    "the stock has changed since it was looked at",
);
pub(super) const VERSION_REQUIRED: Kind = Kind::new(
    StatusCode::PRECONDITION_REQUIRED,
    "inventory.version_required",
    "a count must say which version of the stock it replaces",
);
pub(super) const LEVEL_IMPOSSIBLE: Kind = Kind::new(
    StatusCode::CONFLICT,
    "inventory.level_impossible",
    "the stock cannot have this level",
);

pub(super) fn product_not_found(product: &str) -> Problem {
    Problem::of(PRODUCT_NOT_FOUND)
        .detail(format!(
            "no stock is kept of {product}; POST /v1/inventory begins to"
        ))
        .with("product", product)
}

pub(super) fn product_exists(product: &Product) -> Problem {
    Problem::of(PRODUCT_EXISTS)
        .detail(format!(
            "stock of {product} is kept already; PATCH /v1/inventory/{product} changes it"
        ))
        .with("product", product.as_str())
}

pub(super) fn reservation_not_found(order: Uuid) -> Problem {
    Problem::of(RESERVATION_NOT_FOUND)
        .detail(format!("no command for order {order} has arrived"))
        .with("order_id", order)
}

pub(super) fn version_conflict(product: &str, current: i64) -> Problem {
    Problem::of(VERSION_CONFLICT)
        .detail(format!(
            "{product} is at version {current} now; look at it again and decide anew"
        ))
        .with("product", product)
        .with("version", current)
        .header(axum::http::header::ETAG, etag(current))
}

pub(super) fn version_required(product: &str) -> Problem {
    Problem::of(VERSION_REQUIRED)
        .detail(format!(
            "a count of {product} replaces what is on hand: send the ETag that was seen as If-Match, or its \
             number as version; a delta needs neither"
        ))
        .with("product", product)
}

pub(super) fn level_impossible(row: &StockRow, error: LevelError) -> Problem {
    Problem::of(LEVEL_IMPOSSIBLE)
        .detail(format!("{}: {error}", row.product))
        .with("product", &row.product)
        .with("on_hand", row.on_hand)
        .with("reserved", row.reserved)
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Database(error) => error.into(),
            other => Self::internal(other),
        }
    }
}
