//! What a batch of commands touches: locked and loaded by one statement a table, written back the same way.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;
use super::reservations::{self, LedgerRow};
use crate::domain::{Changes, Command, Level, OrderId, Product, Reservation, Warehouse};

/// Locks and loads the ledger entries and the stock that these commands touch.
///
/// Ledger first, then stock, each sorted by its key: every transaction takes its locks in this order.
pub async fn load(
    tx: &mut PgConnection,
    commands: &[(usize, Command)],
) -> Result<Warehouse, StoreError> {
    let orders: BTreeSet<Uuid> = commands.iter().map(|(_, c)| c.order().0).collect();
    let reservations = lock_reservations(tx, orders.into_iter().collect()).await?;

    let mut products = BTreeSet::new();
    for (_, command) in commands {
        match command {
            // Its answer is in the ledger already, and its stock need not wait for anybody.
            Command::Reserve { order, .. } if reservations.contains_key(order) => {}
            Command::Reserve { lines, .. } => {
                products.extend(lines.iter().map(|(product, _)| product.clone()));
            }
            Command::Commit { order } | Command::Release { order } => {
                if let Some(reservation) = reservations.get(order).filter(|r| r.state.can_move()) {
                    products.extend(reservation.lines.iter().map(|(product, _)| product.clone()));
                }
            }
        }
    }
    let products = products.into_iter().map(Product::into_string).collect();
    let levels = lock_stock(tx, products).await?;
    Ok(Warehouse::new(levels, reservations))
}

/// Writes back what the fold changed: at most one statement for each kind of change.
pub async fn save(tx: &mut PgConnection, changes: Changes) -> Result<(), StoreError> {
    update_stock(tx, changes.levels).await?;
    insert_reservations(tx, &changes.opened).await?;
    let (orders, states): (Vec<_>, Vec<_>) = changes
        .moved
        .into_iter()
        .map(|(order, state)| (order.0, state.name()))
        .unzip();
    if orders.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update reservations r
         set status = moved.status, updated_at = clock_timestamp()
         from unnest($1::uuid[], $2::text[]) as moved (order_id, status)
         where r.order_id = moved.order_id",
    )
    .bind(orders)
    .bind(states)
    .execute(tx)
    .await?;
    Ok(())
}

async fn lock_reservations(
    tx: &mut PgConnection,
    orders: Vec<Uuid>,
) -> Result<BTreeMap<OrderId, Reservation>, StoreError> {
    let rows: Vec<LedgerRow> = sqlx::query_as(
        "select r.order_id, r.status, r.shortages, l.products, l.quantities, r.created_at, r.updated_at
         from reservations r
         cross join lateral (
             select array_agg(product order by product) as products,
                    array_agg(quantity order by product) as quantities
             from reservation_lines
             where order_id = r.order_id
         ) l
         where r.order_id = any($1)
         order by r.order_id
         for update of r",
    )
    .bind(orders)
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(reservations::to_domain).collect()
}

async fn lock_stock(
    tx: &mut PgConnection,
    products: Vec<String>,
) -> Result<Vec<(Product, Level)>, StoreError> {
    if products.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "select product, on_hand, reserved
         from stock
         where product = any($1)
         order by product
         for update",
    )
    .bind(products)
    .fetch_all(tx)
    .await?;
    rows.into_iter()
        .map(|(product, on_hand, reserved)| {
            let corrupt = |reason: String| StoreError::Corrupt {
                table: "stock",
                key: product.clone(),
                reason,
            };
            let level = Level::new(on_hand, reserved).map_err(|e| corrupt(e.to_string()))?;
            let parsed = Product::parse(product.as_str()).map_err(|e| corrupt(e.to_string()))?;
            Ok((parsed, level))
        })
        .collect()
}

async fn update_stock(
    tx: &mut PgConnection,
    levels: Vec<(Product, Level)>,
) -> Result<(), StoreError> {
    if levels.is_empty() {
        return Ok(());
    }
    let mut products = Vec::with_capacity(levels.len());
    let mut on_hand = Vec::with_capacity(levels.len());
    let mut reserved = Vec::with_capacity(levels.len());
    for (product, level) in levels {
        products.push(product.into_string());
        on_hand.push(level.on_hand());
        reserved.push(level.reserved());
    }
    sqlx::query(
        "update stock s
         set on_hand = changed.on_hand, reserved = changed.reserved,
             version = s.version + 1, updated_at = clock_timestamp()
         from unnest($1::text[], $2::bigint[], $3::bigint[]) as changed (product, on_hand, reserved)
         where s.product = changed.product",
    )
    .bind(products)
    .bind(on_hand)
    .bind(reserved)
    .execute(tx)
    .await?;
    Ok(())
}

async fn insert_reservations(
    tx: &mut PgConnection,
    opened: &[(OrderId, Reservation)],
) -> Result<(), StoreError> {
    if opened.is_empty() {
        return Ok(());
    }
    let mut orders = Vec::with_capacity(opened.len());
    let mut states = Vec::with_capacity(opened.len());
    let mut shortages = Vec::with_capacity(opened.len());
    let (mut line_orders, mut products, mut quantities) = (Vec::new(), Vec::new(), Vec::new());
    for (order, reservation) in opened {
        orders.push(order.0);
        states.push(reservation.state.name());
        shortages.push(reservations::shortages_json(&reservation.state));
        for (product, units) in &reservation.lines {
            line_orders.push(order.0);
            products.push(product.as_str());
            quantities.push(*units);
        }
    }
    // An entry that another transaction opened meanwhile was not there to be locked: with "do nothing" its
    // row is missing from the count, and this transaction gives way instead of deciding twice.
    let inserted = sqlx::query(
        "insert into reservations (order_id, status, shortages)
         select order_id, status, shortages
         from unnest($1::uuid[], $2::text[], $3::jsonb[]) as opened (order_id, status, shortages)
         order by order_id
         on conflict (order_id) do nothing",
    )
    .bind(&orders)
    .bind(states)
    .bind(shortages)
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if inserted != orders.len() as u64 {
        return Err(StoreError::LedgerConflict);
    }
    if line_orders.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into reservation_lines (order_id, product, quantity)
         select * from unnest($1::uuid[], $2::text[], $3::bigint[])",
    )
    .bind(line_orders)
    .bind(products)
    .bind(quantities)
    .execute(tx)
    .await?;
    Ok(())
}
