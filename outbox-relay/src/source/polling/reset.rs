//! Putting a source's cursor elsewhere, by an operator's word: what the database has to do with it.
//!
//! The copy of the cursor that lies beside the outbox travels with it through backups, dumps and failovers, and says what
//! of *these* rows was published. In the same cluster its transaction ids go on to mean what they meant. In another
//! cluster, after a dump was restored, they do not, and neither do those in the rows: a row with a number from the future
//! would be invisible until the cluster's counter comes by, and then be published. There every row gets a number
//! anew: the reset's own, if it is to be published, and one that every snapshot sees, if it is not.

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use uuid::Uuid;

use super::layout;
use super::question::{self, running};
use super::table::Table;
use crate::cursor::{Cursor, Identity, Snapshot};
use crate::reset::{Goal, Reset};
use crate::shard::Shard;
use crate::source::SourceError;

/// A row with this transaction id is seen by every snapshot: what is frozen in PostgreSQL has it.
const FROZEN: &str = "2";

type Copy = (Cursor, DateTime<Utc>);

/// Makes the database ready for the new cursors, writes the audit, begins a layout with the cursors, and returns them.
pub(super) async fn reset(
    connection: &mut PgConnection,
    table: &Table,
    identity: &Identity,
    reset: &Reset,
    change: (Uuid, Uuid),
) -> Result<Vec<Cursor>, SourceError> {
    let layout = layout::layout(connection).await?;
    let mut copies = Vec::new();
    for shard in layout.shards() {
        copies.push((shard, copy(connection, shard).await?));
    }
    let mut tx = connection.begin().await?;
    // Before the transaction has an id of its own: what it renumbers comes after this snapshot.
    let now = question::snapshot(&mut tx).await?;
    let last_seq = last_number(&mut tx, table).await?;
    let mut cursors = Vec::with_capacity(copies.len());
    for (shard, copy) in &copies {
        let beginning = Cursor::beginning(identity.clone());
        let strange = copy
            .as_ref()
            .is_some_and(|(copy, _)| copy.identity.system != identity.system);
        let cursor = match (reset.goal, copy) {
            (Goal::Now, _) => beginning.settled_at(now.clone()),
            (Goal::Adopt, None) => return Err(SourceError::NoCopy),
            (Goal::Adopt, Some((copy, _))) if !strange => Cursor {
                identity: identity.clone(),
                ..copy.clone()
            },
            (Goal::Begin, _) if !strange => beginning,
            // Renumbered rows come after the snapshot.
            (Goal::Begin | Goal::Adopt, _) => beginning.settled_at(now.clone()),
        };
        if strange {
            renumber(&mut tx, table, *shard, reset.goal, copy.as_ref()).await?;
        }
        cursors.push(Cursor {
            last_seq,
            released: Vec::new(),
            ..cursor
        });
    }
    audit(&mut tx, reset, &cursors).await?;
    layout::begin(&mut tx, change, &cursors).await?;
    tx.commit().await?;
    Ok(cursors)
}

/// The copy of a shard's cursor beside the outbox, and when it was written.
pub(super) async fn copy(
    connection: &mut PgConnection,
    shard: Shard,
) -> Result<Option<Copy>, SourceError> {
    let row: Option<(sqlx::types::Json<Cursor>, _)> =
        sqlx::query_as("select cursor, updated_at from oncebox.relay_cursor where shard = $1")
            .bind(shard.number())
            .fetch_optional(connection)
            .await?;
    Ok(row.map(|(cursor, at)| (cursor.0, at)))
}

/// Gives each row of a shard a transaction id of this cluster.
async fn renumber(
    tx: &mut PgConnection,
    table: &Table,
    shard: Shard,
    goal: Goal,
    copy: Option<&Copy>,
) -> Result<(), SourceError> {
    let nothing = Snapshot::nothing();
    let (settled, window, until) = match copy {
        Some((cursor, at)) if goal == Goal::Adopt => {
            (&cursor.settled, cursor.window.as_ref(), Some(*at))
        }
        _ => (&nothing, None, None),
    };
    // Published is what the copy says is published. A row that is younger than the copy was written here, by a service
    // that began before the relay: its number means nothing to the copy. What is parked is not published twice.
    let published = "(given_xid < $1::text::xid8 and not given_xid = any($2::text[]::xid8[])
           or coalesce(pg_visible_in_snapshot(given_xid, $3::text::pg_snapshot) and given_seq <= $4, false))
          and coalesce(given_at <= $5, true)
          or exists (select from oncebox.relay_parked as parked where parked.seq = given_seq)
          or $6";
    let sql = format!(
        "update {name} as target
         set {xid} = case when {published} then '{FROZEN}'::xid8 else pg_current_xact_id() end
         from (select {seq} as given_seq, {xid} as given_xid, {created_at} as given_at from {name} where {shard}) as given
         where target.{seq} = given_seq",
        name = table.name,
        xid = table.xid,
        seq = table.seq,
        created_at = table.created_at,
        shard = shard.rows(&table.key, &table.seq),
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(settled.xmax().to_string())
        .bind(running(settled))
        .bind(window.map(|window| window.snapshot.to_string()))
        .bind(window.map(|window| window.position))
        .bind(until)
        .bind(goal == Goal::Now)
        .execute(tx)
        .await?;
    Ok(())
}

/// The last number that the outbox's sequence gave out, as far as this user may see.
async fn last_number(tx: &mut PgConnection, table: &Table) -> Result<i64, SourceError> {
    let sql = format!("select coalesce({}, 0)", table.last_number());
    let last = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(tx).await?;
    Ok(last)
}

async fn audit(
    tx: &mut PgConnection,
    reset: &Reset,
    cursors: &[Cursor],
) -> Result<(), SourceError> {
    let at: Vec<_> = cursors
        .iter()
        .map(|cursor| cursor.settled.to_string())
        .collect();
    sqlx::query(
        "insert into oncebox.relay_audit (actor, action, reason, rows, detail) values ($1, $2, $3, 0, $4)",
    )
    .bind(&reset.by.actor)
    .bind(format!("cursor {}", reset.goal.name()))
    .bind(&reset.by.reason)
    .bind(serde_json::json!({ "cursors": at }))
    .execute(tx)
    .await?;
    Ok(())
}
