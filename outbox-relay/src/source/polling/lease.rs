//! The lease row of a source: one statement each to look at it, take it, renew it and give it back.
//!
//! Every decision is the database's, by its own clock, in one statement without session state, so that a connection
//! pooler in transaction mode may stand between.

use std::time::Duration;

use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::source::SourceError;

/// The lease as it stands.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct LeaseRow {
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

/// Shard 0 of 1.
const SHARD: i32 = 0;

pub(super) async fn look(connection: &mut PgConnection) -> Result<Option<LeaseRow>, SourceError> {
    let row = sqlx::query_as(
        "select owner, holder, expires_at < clock_timestamp() as expired from oncebox.relay_lease where shard = $1",
    )
    .bind(SHARD)
    .fetch_optional(connection)
    .await?;
    Ok(row)
}

/// Takes the lease when it is free, expired, the tenant's own, or still that of `dead`; false when somebody else has it.
pub(super) async fn take(
    connection: &mut PgConnection,
    tenant: &Tenant,
    dead: Option<Uuid>,
) -> Result<bool, SourceError> {
    let done = sqlx::query(
        "insert into oncebox.relay_lease as held (shard, owner, holder, expires_at)
         values ($1, $2, $3, clock_timestamp() + $4 * interval '1 millisecond')
         on conflict (shard) do update
             set owner = excluded.owner, holder = excluded.holder, since = clock_timestamp(),
                 expires_at = clock_timestamp() + $4 * interval '1 millisecond'
             where held.owner = excluded.owner or held.owner = $5 or held.expires_at < clock_timestamp()",
    )
    .bind(SHARD)
    .bind(tenant.owner)
    .bind(&tenant.holder)
    .bind(tenant.lasts.as_secs_f64() * 1000.0)
    .bind(dead)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Makes the lease last anew; false when it is not the tenant's any more. Late but unclaimed is still in time.
pub(super) async fn renew(
    connection: &mut PgConnection,
    tenant: &Tenant,
) -> Result<bool, SourceError> {
    let done = sqlx::query(
        "update oncebox.relay_lease set expires_at = clock_timestamp() + $3 * interval '1 millisecond'
         where shard = $1 and owner = $2",
    )
    .bind(SHARD)
    .bind(tenant.owner)
    .bind(tenant.lasts.as_secs_f64() * 1000.0)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Frees the lease at once, if it is the tenant's.
pub(super) async fn give_back(
    connection: &mut PgConnection,
    tenant: &Tenant,
) -> Result<(), SourceError> {
    sqlx::query(
        "update oncebox.relay_lease set expires_at = '-infinity' where shard = $1 and owner = $2",
    )
    .bind(SHARD)
    .bind(tenant.owner)
    .execute(connection)
    .await?;
    Ok(())
}
