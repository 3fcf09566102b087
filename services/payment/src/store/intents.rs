//! What is written before the provider is called, so that a crash in between is seen afterwards.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::command::{Ask, Command};
use crate::domain::operation::{Operation, OrderId, idempotency_key};

/// Makes sure that each authorisation and each void has its payment. At most one command an order.
///
/// What to authorise is taken from the latest command until the provider was first asked; after that it must stay as it
/// is, because the provider's idempotency key stands for exactly that request. The same holds for the merchant account.
pub async fn open(tx: &mut PgConnection, commands: &[Command]) -> Result<(), sqlx::Error> {
    let mut opening: Vec<&Command> = commands
        .iter()
        .filter(|command| command.ask != Ask::Capture)
        .collect();
    if opening.is_empty() {
        return Ok(());
    }
    opening.sort_by_key(|command| command.order);
    let authorize = |command: &&Command| match &command.ask {
        Ask::Authorize(authorize) => Some(authorize.clone()),
        Ask::Capture | Ask::Void => None,
    };
    let charges: Vec<_> = opening.iter().map(authorize).collect();
    let column = |get: fn(&crate::domain::command::Authorize) -> String| -> Vec<Option<String>> {
        charges
            .iter()
            .map(|charge| charge.as_ref().map(get))
            .collect()
    };
    sqlx::query(
        "insert into payments as p (order_id, customer_id, amount_minor, currency, payment_token, merchant_account)
         select c.order_id, c.customer_id, c.amount_minor, c.currency, c.payment_token, m.account
         from unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[])
              as c (order_id, customer_id, amount_minor, currency, payment_token)
              left join merchant_accounts m on m.currency = c.currency
         order by c.order_id
         on conflict (order_id) do update
         set customer_id = excluded.customer_id, amount_minor = excluded.amount_minor, currency = excluded.currency,
             payment_token = excluded.payment_token, merchant_account = excluded.merchant_account, updated_at = now()
         where p.standing = 'created' and excluded.amount_minor is not null
               and not exists (select from operations o where o.order_id = p.order_id)",
    )
    .bind(opening.iter().map(|command| command.order.0).collect::<Vec<Uuid>>())
    .bind(column(|charge| charge.customer.clone()))
    .bind(charges.iter().map(|charge| charge.as_ref().map(|charge| charge.amount.minor())).collect::<Vec<_>>())
    .bind(column(|charge| charge.currency.to_string()))
    .bind(column(|charge| charge.token.expose().to_owned()))
    .execute(tx)
    .await?;
    Ok(())
}

/// Notes that these operations are about to be called.
pub async fn note_calls(
    tx: &mut PgConnection,
    calls: &[(OrderId, Operation)],
) -> Result<(), sqlx::Error> {
    if calls.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into operations as o (order_id, operation, idempotency_key, calls)
         select order_id, operation, idempotency_key, 1
         from unnest($1::uuid[], $2::text[], $3::text[]) as c (order_id, operation, idempotency_key)
         on conflict (order_id, operation) do update set calls = o.calls + 1, last_called_at = clock_timestamp()
         where o.settled_at is null",
    )
    .bind(calls.iter().map(|(order, _)| order.0).collect::<Vec<Uuid>>())
    .bind(calls.iter().map(|(_, operation)| operation.name()).collect::<Vec<_>>())
    .bind(calls.iter().map(|(order, operation)| idempotency_key(*order, *operation)).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}

/// Leaves tombstones: payments that hold nothing and never will.
pub async fn bury(tx: &mut PgConnection, orders: &[OrderId]) -> Result<(), sqlx::Error> {
    if orders.is_empty() {
        return Ok(());
    }
    sqlx::query("update payments set standing = 'voided', updated_at = now() where order_id = any($1) and standing = 'created'")
        .bind(orders.iter().map(|order| order.0).collect::<Vec<Uuid>>())
        .execute(tx)
        .await?;
    Ok(())
}
