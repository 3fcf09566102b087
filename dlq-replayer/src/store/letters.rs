//! Reading the index.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{FromRow, PgPool, Postgres, QueryBuilder};
use uuid::Uuid;

/// Dead letters of one group on one topic.
#[derive(Debug, Clone, FromRow)]
pub struct TopicCounts {
    /// Dead-letter topic.
    pub topic: String,
    /// Topic whose consumer failed.
    pub source_topic: Option<String>,
    /// Group that failed.
    pub group: Option<String>,
    /// Letters that were never replayed.
    pub open: i64,
    /// Letters that were.
    pub replayed: i64,
    /// When the oldest was written.
    pub oldest: DateTime<Utc>,
    /// When the newest was written.
    pub newest: DateTime<Utc>,
}

/// A dead letter in a list.
#[derive(Debug, Clone, FromRow)]
pub struct LetterSummary {
    pub id: i64,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub recorded_at: DateTime<Utc>,
    pub source_topic: Option<String>,
    pub group: Option<String>,
    pub event_id: Uuid,
    pub key: Option<Vec<u8>>,
    pub error_class: Option<String>,
    pub error_code: Option<String>,
    pub error_message: Option<String>,
    pub attempts: Option<i32>,
    pub first_failed_at: Option<DateTime<Utc>>,
    pub last_failed_at: Option<DateTime<Utc>>,
    pub status: String,
    pub replay_count: i32,
    pub indexed_at: DateTime<Utc>,
}

/// Everything that the index holds of a dead letter.
#[derive(Debug, Clone, FromRow)]
pub struct LetterRow {
    #[sqlx(flatten)]
    pub summary: LetterSummary,
    pub source_partition: Option<i32>,
    pub source_offset: Option<i64>,
    pub value: Option<Vec<u8>>,
    pub headers: Value,
    pub error_headers: Value,
    pub error_site: Option<String>,
    pub service_version: Option<String>,
    pub prior_replays: i32,
    pub replay_topic: Option<String>,
    pub unreplayable: Option<String>,
    /// The letter whose replay failed again as this one.
    pub replay_of: Option<String>,
    /// The letters as which replays of this one failed again.
    pub failed_again_as: Vec<i64>,
}

/// Which letters to list; whatever is absent does not matter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Dead-letter topic.
    pub topic: Option<String>,
    /// Group that failed.
    pub group: Option<String>,
    /// `open` or `replayed`.
    pub status: Option<&'static str>,
    /// Code of the error.
    pub error_code: Option<String>,
    /// Event id.
    pub event_id: Option<Uuid>,
    /// Record key.
    pub key: Option<Vec<u8>>,
}

const SUMMARY: &str = r#"id, topic, "partition", "offset", recorded_at, source_topic, "group", event_id, key, error_class,
    error_code, error_message, attempts, first_failed_at, last_failed_at, status, replay_count, indexed_at"#;

/// Counts for each dead-letter topic and group.
///
/// # Errors
/// Any [`sqlx::Error`].
pub async fn topics(pool: &PgPool) -> Result<Vec<TopicCounts>, sqlx::Error> {
    sqlx::query_as(
        r#"select topic, source_topic, "group",
                  count(*) filter (where status = 'open') as open,
                  count(*) filter (where status = 'replayed') as replayed,
                  min(recorded_at) as oldest, max(recorded_at) as newest
           from dead_letters group by topic, source_topic, "group" order by topic, source_topic, "group""#,
    )
    .fetch_all(pool)
    .await
}

/// How many letters are open, by dead-letter topic.
///
/// # Errors
/// Any [`sqlx::Error`].
pub async fn open_by_topic(pool: &PgPool) -> Result<Vec<(String, i64)>, sqlx::Error> {
    sqlx::query_as("select topic, count(*) from dead_letters where status = 'open' group by topic")
        .fetch_all(pool)
        .await
}

/// Letters that match, newest first, beginning below the id `before`.
///
/// # Errors
/// Any [`sqlx::Error`].
pub async fn letters(
    pool: &PgPool,
    filter: &Filter,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<LetterSummary>, sqlx::Error> {
    let mut query = QueryBuilder::<Postgres>::new("select ");
    query.push(SUMMARY).push(" from dead_letters where true");
    push_filter(&mut query, filter);
    if let Some(before) = before {
        query.push(" and id < ").push_bind(before);
    }
    query.push(" order by id desc limit ").push_bind(limit);
    query.build_query_as().fetch_all(pool).await
}

fn push_filter(query: &mut QueryBuilder<Postgres>, filter: &Filter) {
    if let Some(topic) = &filter.topic {
        query.push(" and topic = ").push_bind(topic.clone());
    }
    if let Some(group) = &filter.group {
        query.push(r#" and "group" = "#).push_bind(group.clone());
    }
    if let Some(status) = filter.status {
        query.push(" and status = ").push_bind(status);
    }
    if let Some(code) = &filter.error_code {
        query.push(" and error_code = ").push_bind(code.clone());
    }
    if let Some(event_id) = filter.event_id {
        query.push(" and event_id = ").push_bind(event_id);
    }
    if let Some(key) = &filter.key {
        query.push(" and key = ").push_bind(key.clone());
    }
}

/// One letter in full.
///
/// # Errors
/// Any [`sqlx::Error`].
pub async fn letter(pool: &PgPool, id: i64) -> Result<Option<LetterRow>, sqlx::Error> {
    let mut query = QueryBuilder::<Postgres>::new("select ");
    query
        .push(SUMMARY)
        .push(
            r#", source_partition, source_offset, value, headers, error_headers, error_site, service_version,
               prior_replays, replay_topic, unreplayable, replay_of,
               array(select again.id from dead_letters again
                     where again.replay_of = letter.topic || '/' || letter."partition" || '/' || letter."offset"
                     order by again.id) as failed_again_as
               from dead_letters letter where id = "#,
        )
        .push_bind(id);
    query.build_query_as().fetch_optional(pool).await
}

/// The value of a letter: none where there is no letter, none within for a tombstone.
///
/// # Errors
/// Any [`sqlx::Error`].
pub async fn value(pool: &PgPool, id: i64) -> Result<Option<Option<Vec<u8>>>, sqlx::Error> {
    sqlx::query_scalar("select value from dead_letters where id = $1")
        .bind(id)
        .fetch_optional(pool)
        .await
}
