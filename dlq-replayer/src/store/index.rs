//! Into the index and, after a while, out of it.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool};

use crate::domain::letter::{Letter, Unreplayable};

/// So many are removed by one statement, so that a long overdue clean-up neither locks nor bloats much at once.
const REMOVAL_BATCH: i64 = 1_000;

/// Puts letters into the index by one statement; those that are there already stay as they are.
/// Returns how many were new.
///
/// # Errors
/// Any [`sqlx::Error`]; then none was added.
pub async fn index(db: impl PgExecutor<'_>, letters: &[Letter]) -> Result<u64, sqlx::Error> {
    macro_rules! column {
        ($letter:ident => $value:expr) => {
            letters.iter().map(|$letter| $value).collect::<Vec<_>>()
        };
    }
    let added = sqlx::query(
        r#"insert into dead_letters (
               topic, "partition", "offset", recorded_at, source_topic, source_partition, source_offset, "group",
               event_id, key, value, headers, error_headers, error_class, error_code, error_message, error_site,
               service_version, attempts, first_failed_at, last_failed_at, replay_of, prior_replays, replay_topic,
               unreplayable)
           select * from unnest(
               $1::text[], $2::integer[], $3::bigint[], $4::timestamptz[], $5::text[], $6::integer[], $7::bigint[],
               $8::text[], $9::uuid[], $10::bytea[], $11::bytea[], $12::jsonb[], $13::jsonb[], $14::text[], $15::text[],
               $16::text[], $17::text[], $18::text[], $19::integer[], $20::timestamptz[], $21::timestamptz[],
               $22::text[], $23::integer[], $24::text[], $25::text[])
           on conflict on constraint dead_letters_record do nothing"#,
    )
    .bind(column!(letter => letter.record.topic.as_str()))
    .bind(column!(letter => letter.record.partition))
    .bind(column!(letter => letter.record.offset))
    .bind(column!(letter => letter.record.timestamp.unwrap_or(DateTime::UNIX_EPOCH)))
    .bind(column!(letter => letter.source_topic.as_deref()))
    .bind(column!(letter => letter.failure.partition))
    .bind(column!(letter => letter.failure.offset))
    .bind(column!(letter => letter.failure.group.as_deref()))
    .bind(column!(letter => letter.event_id.as_uuid()))
    .bind(column!(letter => letter.record.key.as_deref()))
    .bind(column!(letter => letter.record.value.as_deref()))
    .bind(column!(letter => json(&letter.headers)))
    .bind(column!(letter => json(&letter.error_headers)))
    .bind(column!(letter => letter.failure.class.as_deref()))
    .bind(column!(letter => letter.failure.code.as_deref()))
    .bind(column!(letter => letter.failure.message.as_deref()))
    .bind(column!(letter => letter.failure.site.as_deref()))
    .bind(column!(letter => letter.failure.service_version.as_deref()))
    .bind(column!(letter => letter.failure.attempts))
    .bind(column!(letter => letter.failure.first_failed_at))
    .bind(column!(letter => letter.failure.last_failed_at))
    .bind(column!(letter => letter.replay_of.as_deref()))
    .bind(column!(letter => letter.prior_replays))
    .bind(column!(letter => letter.target.as_deref().ok()))
    .bind(column!(letter => letter.target.as_ref().err().copied().map(Unreplayable::as_str)))
    .execute(db)
    .await?;
    Ok(added.rows_affected())
}

/// Header names are not escaped by the shape itself, and `jsonb` cannot hold U+0000 in them either. Kafka allows
/// it; a name that has it is shown with a replacement rather than keeping its letter out of the index.
fn json(headers: &oncebox::Headers) -> serde_json::Value {
    if headers.iter().all(|(name, _)| !name.contains('\0')) {
        return headers.to_json();
    }
    let mut cleaned = oncebox::Headers::new();
    for (name, value) in headers.iter() {
        cleaned.push_raw(name.replace('\0', "\u{fffd}"), value.map(<[u8]>::to_vec));
    }
    cleaned.to_json()
}

/// Removes letters that were indexed before `limit`, open or not; returns how many. Replays stay on record.
///
/// # Errors
/// Any [`sqlx::Error`]; what was removed before it stays removed.
pub async fn remove_older(pool: &PgPool, limit: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let mut removed = 0;
    loop {
        let batch = sqlx::query(
            "delete from dead_letters where id in (
                 select id from dead_letters where indexed_at < $1 order by indexed_at limit $2
                 for update skip locked)",
        )
        .bind(limit)
        .bind(REMOVAL_BATCH)
        .execute(pool)
        .await?
        .rows_affected();
        removed += batch;
        if batch == 0 {
            return Ok(removed);
        }
    }
}
