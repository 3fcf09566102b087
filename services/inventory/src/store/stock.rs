//! Stock as the HTTP interface reads and changes it: one product at a time, or a page.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use super::StoreError;
use crate::domain::{Level, Product};

/// A product's row.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct StockRow {
    pub product: String,
    pub name: String,
    pub on_hand: i64,
    pub reserved: i64,
    pub version: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl StockRow {
    /// The level, which the table's checks keep valid.
    pub fn level(&self) -> Result<Level, StoreError> {
        Level::new(self.on_hand, self.reserved).map_err(|error| StoreError::Corrupt {
            table: "stock",
            key: self.product.clone(),
            reason: error.to_string(),
        })
    }
}

/// Begins to keep stock of a product; `None` when there is stock of it already.
pub async fn create(
    pool: &PgPool,
    product: &Product,
    name: &str,
    level: Level,
) -> Result<Option<StockRow>, StoreError> {
    let row = sqlx::query_as(
        "insert into stock (product, name, on_hand, reserved)
         values ($1, $2, $3, $4)
         on conflict (product) do nothing
         returning *",
    )
    .bind(product.as_str())
    .bind(name)
    .bind(level.on_hand())
    .bind(level.reserved())
    .fetch_optional(pool)
    .await?;
    Ok(row)
}

/// At most `limit` products, sorted, after the given one.
pub async fn page(
    pool: &PgPool,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<StockRow>, StoreError> {
    let rows = sqlx::query_as(
        "select * from stock
         where $1::text is null or product > $1
         order by product
         limit $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    Ok(rows)
}

/// One product.
pub async fn find(pool: &PgPool, product: &str) -> Result<Option<StockRow>, StoreError> {
    let row = sqlx::query_as("select * from stock where product = $1")
        .bind(product)
        .fetch_optional(pool)
        .await?;
    Ok(row)
}

/// One product, locked until the transaction ends.
pub async fn lock(tx: &mut PgConnection, product: &str) -> Result<Option<StockRow>, StoreError> {
    let row = sqlx::query_as("select * from stock where product = $1 for update")
        .bind(product)
        .fetch_optional(tx)
        .await?;
    Ok(row)
}

/// Writes a product that was locked before; its version goes up by one.
pub async fn update(
    tx: &mut PgConnection,
    product: &str,
    name: &str,
    level: Level,
) -> Result<StockRow, StoreError> {
    let row = sqlx::query_as(
        "update stock
         set name = $2, on_hand = $3, version = version + 1, updated_at = clock_timestamp()
         where product = $1
         returning *",
    )
    .bind(product)
    .bind(name)
    .bind(level.on_hand())
    .fetch_one(tx)
    .await?;
    Ok(row)
}
