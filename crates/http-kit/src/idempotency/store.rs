//! Keys and first answers in PostgreSQL, inside the caller's transaction.

use std::time::Duration;

use axum::http::StatusCode;
use sha2::{Digest, Sha256};
use sqlx::{FromRow, PgConnection, PgPool, types::Json};

use super::{Answer, Fingerprint, IdempotencyKey};
use crate::{Problem, kinds};

/// The table, for a service's own migrations; [`migrate`] applies it, too.
pub const MIGRATION: &str = include_str!("idempotency_keys.sql");

/// Seconds until a client should repeat a request that found the first one still running.
const RETRY_AFTER: u32 = 1;
/// Rows that one delete takes: it stays short, and autovacuum keeps pace.
const PURGE_BATCH: i64 = 1000;

/// The right to be the first request with a key; ends with the transaction.
#[derive(Debug)]
#[must_use = "finish() stores the answer; without it a repeated request takes effect again"]
pub struct Claim {
    scope: String,
    key: String,
    fingerprint: Fingerprint,
}

/// What [`begin`] found.
#[derive(Debug)]
pub enum Outcome {
    /// The first request with this key: do the work, then [`finish`].
    First(Claim),
    /// The same request was answered before: this is that answer.
    Repeated(Answer),
}

#[derive(FromRow)]
struct Found {
    claimed: bool,
    fingerprint: Option<Vec<u8>>,
    status: Option<i16>,
    headers: Option<Json<Vec<(String, String)>>>,
    body: Option<Vec<u8>>,
}

/// Claims `key` within `scope` for the transaction on `tx`, or finds the first answer. Never waits for another request.
///
/// # Errors
/// 422 `idempotency.payload_mismatch` when the key was used with another request; 409 `idempotency.in_flight` with
/// Retry-After while the first request is still running; 503 when the database is away. In each case the caller
/// returns and its transaction rolls back.
pub async fn begin(
    tx: &mut PgConnection,
    scope: &str,
    key: &IdempotencyKey,
    fingerprint: Fingerprint,
) -> Result<Outcome, Problem> {
    // An advisory lock that ends with the transaction: a second request with the key learns at once that the first is
    // running, where a second insert would wait for it. The lock is released after the commit can be seen. The one gap
    // is a commit between this statement's snapshot and its lock; `finish` closes it.
    let found: Found = sqlx::query_as(
        "with claim as materialized (select pg_try_advisory_xact_lock($1) as claimed)
         select claim.claimed, k.fingerprint, k.status, k.headers, k.body
         from claim left join idempotency_keys k on k.scope = $2 and k.key = $3",
    )
    .bind(lock_id(scope, key))
    .bind(scope)
    .bind(key.as_str())
    .fetch_one(tx)
    .await?;

    match found {
        Found {
            fingerprint: Some(first),
            ..
        } if first != fingerprint.as_bytes() => Err(Problem::of(kinds::PAYLOAD_MISMATCH).detail(
            "the first request with this key had another payload; use a new key for a new request",
        )),
        Found {
            status: Some(status),
            headers: Some(Json(headers)),
            body: Some(body),
            ..
        } => {
            let status = u16::try_from(status)
                .ok()
                .and_then(|status| StatusCode::from_u16(status).ok());
            let status =
                status.ok_or_else(|| Problem::internal("a stored answer has no valid status"))?;
            Ok(Outcome::Repeated(Answer {
                status,
                headers,
                body: body.into(),
                replayed: true,
            }))
        }
        Found { claimed: true, .. } => Ok(Outcome::First(Claim {
            scope: scope.to_owned(),
            key: key.as_str().to_owned(),
            fingerprint,
        })),
        Found { claimed: false, .. } => Err(in_flight()),
    }
}

/// Stores the answer under the claimed key. The caller commits afterwards, and only then answers.
///
/// # Errors
/// 409 `idempotency.in_flight` when another request with the key committed just before: nothing of this one may take
/// effect, the repeated request gets the other's answer. 503 when the database is away.
pub async fn finish(tx: &mut PgConnection, claim: Claim, answer: &Answer) -> Result<(), Problem> {
    let stored = sqlx::query(
        "insert into idempotency_keys (scope, key, fingerprint, status, headers, body)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (scope, key) do nothing",
    )
    .bind(claim.scope)
    .bind(claim.key)
    .bind(claim.fingerprint.as_bytes())
    .bind(i16::try_from(answer.status.as_u16()).map_err(Problem::internal)?)
    .bind(Json(&answer.headers))
    .bind(&answer.body[..])
    .execute(tx)
    .await?;
    if stored.rows_affected() == 0 {
        Err(in_flight())
    } else {
        Ok(())
    }
}

fn in_flight() -> Problem {
    Problem::of(kinds::IN_FLIGHT)
        .detail("repeat the request in a moment to get its answer")
        .retry_after(RETRY_AFTER)
}

/// Two keys that meet in 64 bits would cost one of them a needless 409, and nothing else.
fn lock_id(scope: &str, key: &IdempotencyKey) -> i64 {
    let digest = Sha256::new()
        .chain_update(scope)
        .chain_update([0])
        .chain_update(key.as_str())
        .finalize();
    let mut id = [0; 8];
    id.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(id)
}

/// Makes the table where it is missing. Several processes may do so at once.
///
/// # Errors
/// What the database says.
pub async fn migrate(pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    // `create … if not exists` alone fails when two do it at the same moment.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('oncebox.idempotency_keys', 0))")
        .execute(&mut *tx)
        .await?;
    sqlx::raw_sql(MIGRATION).execute(&mut *tx).await?;
    tx.commit().await
}

/// Forgets keys that are older than `age`, in small steps; returns how many. A key that is forgotten is new again, so
/// `age` must be longer than any client repeats: a day or more.
///
/// # Errors
/// What the database says; what was forgotten until then stays forgotten.
pub async fn purge(pool: &PgPool, age: Duration) -> Result<u64, sqlx::Error> {
    let mut forgotten = 0;
    loop {
        let deleted = sqlx::query(
            "delete from idempotency_keys where ctid = any(array(
                 select ctid from idempotency_keys
                 where created_at < clock_timestamp() - make_interval(secs => $1)
                 order by created_at limit $2 for update skip locked))",
        )
        .bind(age.as_secs_f64())
        .bind(PURGE_BATCH)
        .execute(pool)
        .await?
        .rows_affected();
        forgotten += deleted;
        if deleted < PURGE_BATCH.unsigned_abs() {
            return Ok(forgotten);
        }
    }
}
