//! What the registry said, kept in the service's database. Every call is best effort: the registry is the
//! truth, and a database that is away is noticed by the work that really needs it.

use sqlx::PgPool;

pub(super) async fn load_id(
    store: Option<&PgPool>,
    subject: &str,
    fingerprint: &str,
) -> Option<u32> {
    let id: i32 = sqlx::query_scalar(
        "select id from oncebox.schema_ids where subject = $1 and fingerprint = $2",
    )
    .bind(subject)
    .bind(fingerprint)
    .fetch_optional(store?)
    .await
    .ok()??;
    u32::try_from(id).ok()
}

pub(super) async fn save_id(store: Option<&PgPool>, subject: &str, fingerprint: &str, id: u32) {
    let (Some(store), Ok(id)) = (store, i32::try_from(id)) else {
        return;
    };
    let saved = sqlx::query(
        "insert into oncebox.schema_ids (subject, fingerprint, id) values ($1, $2, $3)
         on conflict (subject, fingerprint) do update set id = excluded.id",
    )
    .bind(subject)
    .bind(fingerprint)
    .bind(id)
    .execute(store)
    .await;
    if let Err(error) = saved {
        tracing::debug!(%error, subject, "schema id not cached in the database");
    }
}

pub(super) async fn load_schema(store: Option<&PgPool>, id: u32) -> Option<String> {
    sqlx::query_scalar("select schema from oncebox.schema_cache where id = $1")
        .bind(i32::try_from(id).ok()?)
        .fetch_optional(store?)
        .await
        .ok()?
}

pub(super) async fn save_schema(store: Option<&PgPool>, id: u32, schema: &str) {
    let (Some(store), Ok(id)) = (store, i32::try_from(id)) else {
        return;
    };
    let saved = sqlx::query(
        "insert into oncebox.schema_cache (id, schema) values ($1, $2) on conflict (id) do nothing",
    )
    .bind(id)
    .bind(schema)
    .execute(store)
    .await;
    if let Err(error) = saved {
        tracing::debug!(%error, id, "schema not cached in the database");
    }
}
