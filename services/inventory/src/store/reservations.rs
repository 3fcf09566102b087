//! The ledger as rows.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::types::Json;
use uuid::Uuid;

use super::StoreError;
use crate::domain::{OrderId, Product, Reservation, Shortage, State};

/// A shortage as the ledger stores it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredShortage {
    pub product: String,
    pub wanted: i64,
    pub available: i64,
}

/// A ledger row with its lines.
#[derive(Debug, sqlx::FromRow)]
pub struct LedgerRow {
    pub order_id: Uuid,
    pub status: String,
    pub shortages: Option<Json<Vec<StoredShortage>>>,
    /// Null for an order without lines: a release that came before its reserve.
    pub products: Option<Vec<String>>,
    pub quantities: Option<Vec<i64>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl LedgerRow {
    /// The lines, sorted by product.
    pub fn lines(&self) -> impl Iterator<Item = (&str, i64)> {
        let products = self.products.iter().flatten().map(String::as_str);
        products.zip(self.quantities.iter().flatten().copied())
    }
}

/// The entry of an order, unlocked.
pub async fn find(pool: &PgPool, order: Uuid) -> Result<Option<LedgerRow>, StoreError> {
    let row = sqlx::query_as(
        "select r.order_id, r.status, r.shortages, l.products, l.quantities, r.created_at, r.updated_at
         from reservations r
         cross join lateral (
             select array_agg(product order by product) as products,
                    array_agg(quantity order by product) as quantities
             from reservation_lines
             where order_id = r.order_id
         ) l
         where r.order_id = $1",
    )
    .bind(order)
    .fetch_optional(pool)
    .await?;
    Ok(row)
}

/// What of a state is kept beside its name.
pub(super) fn shortages_json(state: &State) -> Option<Json<Vec<StoredShortage>>> {
    let State::Rejected(shortages) = state else {
        return None;
    };
    let stored = shortages.iter().map(|shortage| StoredShortage {
        product: shortage.product.to_string(),
        wanted: shortage.wanted,
        available: shortage.available,
    });
    Some(Json(stored.collect()))
}

/// The row as the rules know it.
pub(super) fn to_domain(row: LedgerRow) -> Result<(OrderId, Reservation), StoreError> {
    let corrupt = |reason: String| StoreError::Corrupt {
        table: "reservations",
        key: row.order_id.to_string(),
        reason,
    };
    let product = |text: &str| Product::parse(text).map_err(|e| corrupt(e.to_string()));
    let state = match (row.status.as_str(), &row.shortages) {
        ("reserved", _) => State::Reserved,
        ("committed", _) => State::Committed,
        ("released", _) => State::Released,
        ("rejected", Some(Json(stored))) => {
            let shortages = stored.iter().map(|shortage| {
                Ok(Shortage {
                    product: product(&shortage.product)?,
                    wanted: shortage.wanted,
                    available: shortage.available,
                })
            });
            State::Rejected(shortages.collect::<Result<_, StoreError>>()?)
        }
        (status, _) => return Err(corrupt(format!("the status is {status}"))),
    };
    let lines = row
        .lines()
        .map(|(text, units)| Ok((product(text)?, units)))
        .collect::<Result<_, StoreError>>()?;
    Ok((OrderId(row.order_id), Reservation { lines, state }))
}
