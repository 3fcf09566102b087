//! What the provider said, stored as soon as it is known.

use sqlx::PgPool;
use uuid::Uuid;

use super::payments;
use crate::domain::operation::{Operation, OrderId};
use crate::domain::payment::{Outcome, Standing};

/// The end of a call or of a look-up.
#[derive(Debug, Clone)]
pub struct Ended {
    pub order: OrderId,
    pub operation: Operation,
    pub result: Result<Outcome, String>,
    /// The call came to an end at the provider: not so for a look-up, or a call whose answer was lost.
    pub answered: bool,
}

/// Stores the ends of calls of different orders, and moves each payment that its outcome moves.
pub async fn store(pool: &PgPool, ended: &[Ended]) -> Result<(), sqlx::Error> {
    if ended.is_empty() {
        return Ok(());
    }
    let mut tx = pool.begin().await?;
    let orders: Vec<OrderId> = ended.iter().map(|end| end.order).collect();
    let payments = payments::lock(&mut tx, &orders).await?;
    let moved: Vec<(OrderId, Standing)> = ended
        .iter()
        .filter_map(|end| {
            let outcome = end.result.as_ref().ok()?;
            Some((
                end.order,
                payments.get(&end.order)?.after(end.operation, outcome)?,
            ))
        })
        .collect();
    settle_operations(&mut tx, ended).await?;
    move_payments(&mut tx, &moved).await?;
    tx.commit().await
}

async fn settle_operations(
    tx: &mut sqlx::PgConnection,
    ended: &[Ended],
) -> Result<(), sqlx::Error> {
    let id = |end: &Ended| match &end.result {
        Ok(Outcome::Approved { id }) => Some(id.clone()),
        _ => None,
    };
    sqlx::query(
        "update operations o
         set answers = o.answers + e.answered, provider_id = e.provider_id, last_error = coalesce(e.error, o.last_error),
             settled_at = case when e.error is null then clock_timestamp() end
         from unnest($1::uuid[], $2::text[], $3::int[], $4::text[], $5::text[])
              as e (order_id, operation, answered, provider_id, error)
         where o.order_id = e.order_id and o.operation = e.operation and o.settled_at is null",
    )
    .bind(ended.iter().map(|end| end.order.0).collect::<Vec<Uuid>>())
    .bind(
        ended
            .iter()
            .map(|end| end.operation.name())
            .collect::<Vec<_>>(),
    )
    .bind(
        ended
            .iter()
            .map(|end| i32::from(end.answered))
            .collect::<Vec<_>>(),
    )
    .bind(ended.iter().map(id).collect::<Vec<_>>())
    .bind(
        ended
            .iter()
            .map(|end| end.result.as_ref().err())
            .collect::<Vec<_>>(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn move_payments(
    tx: &mut sqlx::PgConnection,
    moved: &[(OrderId, Standing)],
) -> Result<(), sqlx::Error> {
    if moved.is_empty() {
        return Ok(());
    }
    let decline = |standing: &Standing| match standing {
        Standing::Declined { code, reason } => Some((code.clone(), reason.clone())),
        _ => None,
    };
    let (codes, reasons): (Vec<_>, Vec<_>) = moved
        .iter()
        .map(|(_, standing)| decline(standing).unzip())
        .unzip();
    sqlx::query(
        "update payments p
         set standing = m.standing, decline_code = m.code, decline_reason = m.reason, updated_at = now()
         from unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) as m (order_id, standing, code, reason)
         where p.order_id = m.order_id",
    )
    .bind(moved.iter().map(|(order, _)| order.0).collect::<Vec<Uuid>>())
    .bind(moved.iter().map(|(_, standing)| name(standing)).collect::<Vec<_>>())
    .bind(codes)
    .bind(reasons)
    .execute(tx)
    .await?;
    Ok(())
}

/// As the column's check knows it.
fn name(standing: &Standing) -> &'static str {
    match standing {
        Standing::Created => "created",
        Standing::Authorized { .. } => "authorized",
        Standing::Declined { .. } => "declined",
        Standing::Captured { .. } => "captured",
        Standing::Voided => "voided",
        Standing::Refunded => "refunded",
    }
}
