//! Payments as the rules see them: a row of `payments` with its operations.

use std::collections::HashMap;

use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::domain::account::AccountName;
use crate::domain::money::{Amount, Currency, Token};
use crate::domain::operation::{Operation, OrderId};
use crate::domain::payment::{Charge, Payment, Standing, Tries};

/// Loads the payments of these orders and locks them until the transaction ends.
///
/// Locked also where they are only read: the answer that follows is appended to the outbox in the same transaction, and
/// events of one order must commit in the order in which they are numbered.
pub async fn lock(
    tx: &mut PgConnection,
    orders: &[OrderId],
) -> Result<HashMap<OrderId, Payment>, sqlx::Error> {
    let orders: Vec<Uuid> = orders.iter().map(|order| order.0).collect();
    // Two statements: after waiting for a lock, the first sees the new version of the locked row, but everything else as it
    // was before the wait. The second reads row and operations as of now.
    sqlx::query(
        "select from payments where order_id = any($1) order by order_id for no key update",
    )
    .bind(&orders)
    .execute(&mut *tx)
    .await?;
    let rows: Vec<Row> = sqlx::query_as(
        "select p.order_id, p.customer_id, p.amount_minor, p.currency, p.payment_token, p.merchant_account,
                p.standing, p.decline_code, p.decline_reason,
                o.operation, o.calls, o.answers, o.provider_id, o.settled_at is not null as settled
         from payments p left join operations o on o.order_id = p.order_id
         where p.order_id = any($1)",
    )
    .bind(&orders)
    .fetch_all(tx)
    .await?;
    collect(rows)
}

#[derive(FromRow)]
struct Row {
    order_id: Uuid,
    customer_id: Option<String>,
    amount_minor: Option<i64>,
    currency: Option<String>,
    payment_token: Option<String>,
    merchant_account: Option<String>,
    standing: String,
    decline_code: Option<String>,
    decline_reason: Option<String>,
    operation: Option<String>,
    calls: Option<i32>,
    answers: Option<i32>,
    provider_id: Option<String>,
    settled: Option<bool>,
}

fn collect(rows: Vec<Row>) -> Result<HashMap<OrderId, Payment>, sqlx::Error> {
    let mut by_order: HashMap<Uuid, Vec<Row>> = HashMap::new();
    for row in rows {
        by_order.entry(row.order_id).or_default().push(row);
    }
    let payments = by_order
        .into_iter()
        .map(|(order, rows)| Ok((OrderId(order), payment(OrderId(order), &rows)?)));
    payments.collect()
}

fn payment(order: OrderId, rows: &[Row]) -> Result<Payment, sqlx::Error> {
    let damaged = |what: &str| {
        sqlx::Error::Decode(format!("the stored payment of order {order} has no {what}").into())
    };
    let row = rows.first().ok_or_else(|| damaged("row"))?;
    let id_of = |operation: Operation| {
        let settled = |row: &&Row| {
            row.settled == Some(true) && row.operation.as_deref() == Some(operation.name())
        };
        let found = rows
            .iter()
            .find(settled)
            .and_then(|row| row.provider_id.clone());
        found.ok_or_else(|| damaged("provider's id"))
    };
    let standing = match row.standing.as_str() {
        "created" => Standing::Created,
        "authorized" => Standing::Authorized {
            authorization: id_of(Operation::Authorize)?,
        },
        "captured" => Standing::Captured {
            authorization: id_of(Operation::Authorize)?,
            capture: id_of(Operation::Capture)?,
        },
        "voided" => Standing::Voided,
        "refunded" => Standing::Refunded,
        "declined" => Standing::Declined {
            code: row
                .decline_code
                .clone()
                .ok_or_else(|| damaged("code of its decline"))?,
            reason: row
                .decline_reason
                .clone()
                .ok_or_else(|| damaged("reason of its decline"))?,
        },
        _ => return Err(damaged("known standing")),
    };
    let open = rows
        .iter()
        .filter(|row| row.settled == Some(false))
        .filter_map(tries)
        .collect();
    Ok(Payment::new(order, charge(row), standing, open))
}

fn tries(row: &Row) -> Option<(Operation, Tries)> {
    let operation = Operation::parse(row.operation.as_deref()?)?;
    let count = |number: Option<i32>| {
        number
            .and_then(|number| u32::try_from(number).ok())
            .unwrap_or_default()
    };
    Some((
        operation,
        Tries {
            calls: count(row.calls),
            answers: count(row.answers),
        },
    ))
}

/// What was stored was checked by the same types before.
fn charge(row: &Row) -> Option<Charge> {
    Some(Charge {
        customer: row.customer_id.clone()?,
        amount: Amount::new(row.amount_minor?)?,
        currency: Currency::new(row.currency.as_deref()?)?,
        token: Token::new(row.payment_token.as_deref()?)?,
        account: row.merchant_account.as_deref().and_then(AccountName::new),
    })
}
