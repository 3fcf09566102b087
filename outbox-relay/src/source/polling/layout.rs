//! How a source is divided, and changing that: a mark that stops everybody else, and one transaction that ends the old
//! layout and begins the new one.
//!
//! Why nothing is published twice or never. A relay publishes a shard only if it has read, after it fenced the shard at
//! the broker, that its layout holds and nobody changes it. Whoever changes it sets the mark first and fences every shard
//! of the old layout afterwards. A relay that read before the mark was set is fenced by that; one that reads later sees
//! the mark. One that finds a mark without a sign of life clears it, and then the new layout cannot begin under that mark.

use sqlx::types::Json;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::roster::{self, Tenant};
use crate::cursor::Cursor;
use crate::reset::By;
use crate::shard::{Layout, Shard};
use crate::source::SourceError;

/// A change stays its relay's for so many seconds without a sign.
const LASTS: f64 = 10.0;

pub(super) async fn layout(connection: &mut PgConnection) -> Result<Layout, SourceError> {
    Ok(roster::look(connection).await?.layout)
}

/// Where a shard of the layout begins; none at the beginning of the outbox.
pub(super) async fn beginning(
    connection: &mut PgConnection,
    layout: Uuid,
    shard: Shard,
) -> Result<Option<Cursor>, SourceError> {
    let cursor: Option<Option<Json<Cursor>>> =
        sqlx::query_scalar("select beginnings -> $2 from oncebox.relay_layout where id = $1")
            .bind(layout)
            .bind(shard.number())
            .fetch_optional(connection)
            .await?;
    Ok(cursor.flatten().map(|cursor| cursor.0))
}

/// Marks the layout as being changed, or keeps the mark; false when another is at it.
pub(super) async fn mark(
    connection: &mut PgConnection,
    change: Uuid,
    tenant: &Tenant,
) -> Result<bool, SourceError> {
    let marked = sqlx::query(
        "insert into oncebox.relay_layout as layout (id, shards, change, change_holder, change_until)
         values ($3, 1, $1, $2, clock_timestamp() + $4 * interval '1 second')
         on conflict (only_one) do update
             set change = excluded.change, change_holder = excluded.change_holder, change_until = excluded.change_until
             where layout.change is null or layout.change = excluded.change or layout.change_until < clock_timestamp()",
    )
    .bind(change)
    .bind(&tenant.holder)
    .bind(Layout::FIRST.id)
    .bind(LASTS)
    .execute(connection)
    .await?;
    Ok(marked.rows_affected() == 1)
}

/// Keeps the mark, if it still stands.
pub(super) async fn keep_mark(
    connection: &mut PgConnection,
    change: Uuid,
) -> Result<(), SourceError> {
    sqlx::query(
        "update oncebox.relay_layout set change_until = clock_timestamp() + $2 * interval '1 second' where change = $1",
    )
    .bind(change)
    .bind(LASTS)
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes the mark away: the change is given up.
pub(super) async fn unmark(connection: &mut PgConnection, change: Uuid) -> Result<(), SourceError> {
    sqlx::query(
        "update oncebox.relay_layout set change = null, change_holder = null, change_until = null where change = $1",
    )
    .bind(change)
    .execute(connection)
    .await?;
    Ok(())
}

/// Begins a new layout, if the mark still stands: every lease, every right to park and every copy of a cursor is the new
/// one's from then on. Part of the caller's transaction.
pub(super) async fn begin(
    tx: &mut PgConnection,
    (change, next): (Uuid, Uuid),
    beginnings: &[Cursor],
) -> Result<(), SourceError> {
    let begun = sqlx::query(
        "update oncebox.relay_layout
         set id = $2, shards = $3, beginnings = $4, change = null, change_holder = null, change_until = null
         where change = $1",
    )
    .bind(change)
    .bind(next)
    .bind(i32::try_from(beginnings.len()).unwrap_or(i32::MAX))
    .bind(Json(beginnings))
    .execute(&mut *tx)
    .await?;
    if begun.rows_affected() != 1 {
        return Err(SourceError::ChangeLost);
    }
    // A relay that still believes in the old layout parks nothing any more.
    sqlx::raw_sql("delete from oncebox.relay_fence; delete from oncebox.relay_cursor; delete from oncebox.relay_lease")
        .execute(&mut *tx)
        .await?;
    for (shard, cursor) in (0_i32..).zip(beginnings) {
        super::question::keep_copy(tx, shard, cursor).await?;
    }
    Ok(())
}

/// Begins a layout whose shards all begin at the same place, and writes the audit.
pub(super) async fn divide(
    connection: &mut PgConnection,
    change: (Uuid, Uuid),
    beginnings: &[Cursor],
    by: &By,
) -> Result<(), SourceError> {
    let mut tx = connection.begin().await?;
    begin(&mut tx, change, beginnings).await?;
    sqlx::query(
        "insert into oncebox.relay_audit (actor, action, reason, rows, detail) values ($1, 'shards', $2, 0, $3)",
    )
    .bind(&by.actor)
    .bind(&by.reason)
    .bind(serde_json::json!({ "shards": beginnings.len() }))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}
