//! Who is at work on a source: its layout, the relays that offer themselves and the leases of its shards.
//!
//! Every decision is the database's, by its own clock, in one statement without session state, so that a connection
//! pooler in transaction mode may stand between.

use std::time::Duration;

use serde::Deserialize;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use uuid::Uuid;

use crate::shard::{Change, Layout, Shard};
use crate::source::SourceError;

/// What the database says about a source.
#[derive(Debug, Clone)]
pub struct Roster {
    /// How it is divided.
    pub layout: Layout,
    /// Relays that offer to publish and were heard of lately.
    pub members: Vec<Member>,
    /// Leases that were ever taken.
    pub leases: Vec<LeaseRow>,
    /// Shards whose lease was renewed by this look.
    pub renewed: Vec<u16>,
}

/// A relay that offers itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Member {
    /// The relay's own id.
    pub owner: Uuid,
    /// Its host and process.
    pub holder: String,
}

/// A lease as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LeaseRow {
    /// Of this shard.
    pub shard: u16,
    /// The tenant's own id.
    pub owner: Uuid,
    /// Host and process of the tenant.
    pub holder: String,
    /// Whether it was not renewed in time.
    pub expired: bool,
}

/// Who asks for a lease, and for how long.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Unique for each relay process and source.
    pub owner: Uuid,
    /// Host and process.
    pub holder: String,
    /// How long a lease lasts without being renewed.
    pub lasts: Duration,
}

impl Tenant {
    fn lasts_ms(&self) -> f64 {
        self.lasts.as_secs_f64() * 1000.0
    }
}

/// Says that the tenant ($1, $2; $3: for how long) is there, if it offers itself ($5), and renews what it has ($4). Late
/// but unclaimed is still in time.
const BEAT: &str = "
    with present as (
        insert into oncebox.relay_member (owner, holder, expires_at)
        select $1, $2, clock_timestamp() + $3 * interval '1 millisecond' where $5
        on conflict (owner) do update set expires_at = excluded.expires_at),
    renewed as (
        update oncebox.relay_lease set expires_at = clock_timestamp() + $3 * interval '1 millisecond'
        where owner = $1 and shard = any($4) returning shard)";

const LOOK: &str = "
    select layout.id, layout.shards, layout.change, layout.change_holder,
           coalesce(layout.change_until < clock_timestamp(), true) as change_expired,
           (select coalesce(jsonb_agg(jsonb_build_object('owner', owner, 'holder', holder)), '[]')
            from oncebox.relay_member where expires_at > clock_timestamp()) as members,
           (select coalesce(jsonb_agg(jsonb_build_object(
                'shard', shard, 'owner', owner, 'holder', holder, 'expired', expires_at < clock_timestamp())), '[]')
            from oncebox.relay_lease) as leases,
           array(select shard from {renewed}) as renewed
    from (select) as always left join oncebox.relay_layout as layout on true";

/// Looks, and changes nothing.
pub(super) async fn look(connection: &mut PgConnection) -> Result<Roster, SourceError> {
    let look = LOOK.replace("{renewed}", "oncebox.relay_lease where false");
    let row = sqlx::query(AssertSqlSafe(look))
        .fetch_one(connection)
        .await?;
    roster(&row)
}

/// Looks, renews the leases of those shards, and says that the tenant is there if it offers itself.
pub(super) async fn beat(
    connection: &mut PgConnection,
    tenant: &Tenant,
    held: &[u16],
    offers: bool,
) -> Result<Roster, SourceError> {
    let look = LOOK.replace("{renewed}", "renewed");
    let row = sqlx::query(AssertSqlSafe(format!("{BEAT}{look}")))
        .bind(tenant.owner)
        .bind(&tenant.holder)
        .bind(tenant.lasts_ms())
        .bind(numbers(held))
        .bind(offers)
        .fetch_one(connection)
        .await?;
    roster(&row)
}

fn roster(row: &sqlx::postgres::PgRow) -> Result<Roster, SourceError> {
    let renewed: Vec<i32> = row.try_get("renewed")?;
    Ok(Roster {
        layout: layout(row)?,
        members: row.try_get::<Json<_>, _>("members")?.0,
        leases: row.try_get::<Json<_>, _>("leases")?.0,
        renewed: renewed
            .into_iter()
            .filter_map(|shard| u16::try_from(shard).ok())
            .collect(),
    })
}

/// The layout; nulls where there is no row.
fn layout(row: &sqlx::postgres::PgRow) -> Result<Layout, SourceError> {
    let Some(id) = row.try_get("id")? else {
        return Ok(Layout::FIRST);
    };
    let shards: i32 = row.try_get("shards")?;
    let change: Option<Uuid> = row.try_get("change")?;
    let holder: Option<String> = row.try_get("change_holder")?;
    let expired = row.try_get("change_expired")?;
    Ok(Layout {
        id,
        shards: u16::try_from(shards)
            .ok()
            .filter(|shards| (1..=Shard::MOST).contains(shards))
            .ok_or_else(|| SourceError::Unexpected(format!("{shards} shards")))?,
        change: change.map(|id| Change {
            id,
            holder: holder.unwrap_or_default(),
            expired,
        }),
    })
}

/// Takes leases that are free, expired, the tenant's own, or still that of one that is known to be dead; returns which it
/// got. Another may have been quicker, or a change have begun.
pub(super) async fn take(
    connection: &mut PgConnection,
    tenant: &Tenant,
    shards: &[u16],
    dead: &[Uuid],
) -> Result<Vec<u16>, SourceError> {
    let taken: Vec<(i32,)> = sqlx::query_as(
        "insert into oncebox.relay_lease as held (shard, owner, holder, expires_at)
         select shard, $1, $2, clock_timestamp() + $3 * interval '1 millisecond' from unnest($4::integer[]) as shard
         order by shard
         on conflict (shard) do update
             set owner = excluded.owner, holder = excluded.holder, since = clock_timestamp(),
                 expires_at = excluded.expires_at
             where held.owner = excluded.owner or held.owner = any($5) or held.expires_at < clock_timestamp()
         returning shard",
    )
    .bind(tenant.owner)
    .bind(&tenant.holder)
    .bind(tenant.lasts_ms())
    .bind(numbers(shards))
    .bind(dead)
    .fetch_all(connection)
    .await?;
    Ok(taken
        .into_iter()
        .filter_map(|(shard,)| u16::try_from(shard).ok())
        .collect())
}

/// Frees leases at once, as far as they are the tenant's.
pub(super) async fn give_back(
    connection: &mut PgConnection,
    tenant: &Tenant,
    shards: &[u16],
) -> Result<(), SourceError> {
    sqlx::query(
        "update oncebox.relay_lease set expires_at = '-infinity' where shard = any($1) and owner = $2",
    )
    .bind(numbers(shards))
    .bind(tenant.owner)
    .execute(connection)
    .await?;
    Ok(())
}

/// The tenant offers itself no longer. Whoever was not heard of for a day is forgotten with it.
pub(super) async fn leave(
    connection: &mut PgConnection,
    tenant: &Tenant,
) -> Result<(), SourceError> {
    sqlx::query(
        "delete from oncebox.relay_member where owner = $1 or expires_at < clock_timestamp() - interval '1 day'",
    )
    .bind(tenant.owner)
    .execute(connection)
    .await?;
    Ok(())
}

fn numbers(shards: &[u16]) -> Vec<i32> {
    shards.iter().copied().map(i32::from).collect()
}
