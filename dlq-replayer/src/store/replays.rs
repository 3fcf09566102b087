//! Replays: mark, outbox row and audit in one transaction, by statements that take any number of letters.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{FromRow, PgConnection, PgPool, Postgres, QueryBuilder};
use uuid::Uuid;

use crate::domain::selection::Candidate;

/// All letters of a dead-letter topic, of a group, or of a group on a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Dead-letter topic.
    pub topic: Option<String>,
    /// Group that failed.
    pub group: Option<String>,
    /// Code of the error.
    pub error_code: Option<String>,
    /// Only letters that were written until then.
    pub up_to: Option<DateTime<Utc>>,
    /// Also those that were replayed before.
    pub again: bool,
}

/// Who wants a replay, and why.
#[derive(Debug, Clone)]
pub struct Order {
    /// Its id.
    pub id: Uuid,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
    /// What was asked for.
    pub selection: Value,
    /// Whether the consumer is to handle what it may have forgotten.
    pub force: bool,
}

/// A replay in the audit.
#[derive(Debug, Clone, FromRow)]
pub struct ReplaySummary {
    pub id: Uuid,
    pub requested_at: DateTime<Utc>,
    pub actor: String,
    pub reason: Option<String>,
    pub selection: Value,
    pub letters: i64,
}

/// A replay of one letter.
#[derive(Debug, Clone, FromRow)]
pub struct History {
    pub replay_id: Uuid,
    pub requested_at: DateTime<Utc>,
    pub actor: String,
    pub reason: Option<String>,
    pub replay_count: i32,
    pub replay_topic: String,
}

#[derive(FromRow)]
struct CandidateRow {
    id: i64,
    replayed: bool,
    replay_topic: Option<String>,
    unreplayable: Option<String>,
}

impl From<CandidateRow> for Candidate {
    fn from(row: CandidateRow) -> Self {
        Self {
            id: row.id,
            replayed: row.replayed,
            replay_topic: row.replay_topic,
            unreplayable: row.unreplayable,
        }
    }
}

const CANDIDATE: &str = "select id, status = 'replayed' as replayed, replay_topic, unreplayable from dead_letters where ";

/// The replay topics of all letters in question, to be looked for in Kafka before anything is locked.
///
/// # Errors
/// Any [`sqlx::Error`].
pub async fn replay_topics(
    pool: &PgPool,
    ids: Option<&[i64]>,
    scope: &Scope,
) -> Result<Vec<String>, sqlx::Error> {
    let mut query = QueryBuilder::<Postgres>::new(
        "select distinct replay_topic from dead_letters where replay_topic is not null and ",
    );
    match ids {
        Some(ids) => {
            query.push("id = any(").push_bind(ids.to_vec()).push(")");
        }
        None => push_scope(&mut query, scope),
    }
    query.build_query_scalar().fetch_all(pool).await
}

/// Locks the letters with these ids until the transaction ends.
///
/// # Errors
/// Any [`sqlx::Error`].
pub async fn lock(tx: &mut PgConnection, ids: &[i64]) -> Result<Vec<Candidate>, sqlx::Error> {
    let mut query = QueryBuilder::<Postgres>::new(CANDIDATE);
    // The order of locking is the same for everybody, so that two replays of overlapping choices cannot deadlock.
    query
        .push("id = any(")
        .push_bind(ids.to_vec())
        .push(") order by id for update");
    fetch(query, tx).await
}

/// Locks the oldest letters of a scope. The statement's snapshot is the cut-off: whatever is indexed later is not in it.
///
/// # Errors
/// Any [`sqlx::Error`].
pub async fn chosen(
    tx: &mut PgConnection,
    scope: &Scope,
    limit: i64,
) -> Result<Vec<Candidate>, sqlx::Error> {
    let mut query = QueryBuilder::<Postgres>::new(CANDIDATE);
    push_scope(&mut query, scope);
    query
        .push(" order by id limit ")
        .push_bind(limit)
        .push(" for update");
    fetch(query, tx).await
}

async fn fetch(
    mut query: QueryBuilder<Postgres>,
    tx: &mut PgConnection,
) -> Result<Vec<Candidate>, sqlx::Error> {
    let rows: Vec<CandidateRow> = query.build_query_as().fetch_all(tx).await?;
    Ok(rows.into_iter().map(Candidate::from).collect())
}

/// How many letters a scope holds.
///
/// # Errors
/// Any [`sqlx::Error`].
pub async fn matching(tx: &mut PgConnection, scope: &Scope) -> Result<i64, sqlx::Error> {
    let mut query = QueryBuilder::<Postgres>::new("select count(*) from dead_letters where ");
    push_scope(&mut query, scope);
    query.build_query_scalar().fetch_one(tx).await
}

fn push_scope(query: &mut QueryBuilder<Postgres>, scope: &Scope) {
    query.push(if scope.again {
        "true"
    } else {
        "status = 'open'"
    });
    if let Some(topic) = &scope.topic {
        query.push(" and topic = ").push_bind(topic.clone());
    }
    if let Some(group) = &scope.group {
        query.push(r#" and "group" = "#).push_bind(group.clone());
    }
    if let Some(code) = &scope.error_code {
        query.push(" and error_code = ").push_bind(code.clone());
    }
    if let Some(up_to) = scope.up_to {
        query.push(" and recorded_at <= ").push_bind(up_to);
    }
}

/// Replays the letters with these ids, which the caller has locked: marks them, appends their records to the outbox
/// and writes the audit. One statement; the records' bytes never leave the database.
///
/// Rows go into the outbox in the order of the dead-letter topic, so records of one key stay in their order.
///
/// # Errors
/// Any [`sqlx::Error`]; the transaction is aborted then.
pub async fn execute(
    tx: &mut PgConnection,
    ids: &[i64],
    order: &Order,
) -> Result<u64, sqlx::Error> {
    // Header values must be text there, so numbers are cast.
    let replayed = sqlx::query(
        r#"with marked as (
               update dead_letters set status = 'replayed', replay_count = replay_count + 1
               where id = any($1) and replay_topic is not null
               returning *
           ), audited as (
               insert into replays (id, actor, reason, selection, letters)
               select $2, $3, $4, $5, count(*) from marked
           ), listed as (
               insert into replayed_letters (letter_id, replay_id, replay_count, replay_topic)
               select id, $2, replay_count, replay_topic from marked
           )
           insert into oncebox.outbox (event_id, topic, key, payload, headers)
           select event_id, replay_topic, key, value, headers || jsonb_build_object(
                      'oncebox-replay-of', topic || '/' || "partition" || '/' || "offset",
                      'oncebox-replay-count', (prior_replays + replay_count)::text,
                      'oncebox-replay-group', "group",
                      'oncebox-replay-actor', $3::text,
                      'oncebox-replay-id', $2::text)
                  || case when $6 then jsonb_build_object('oncebox-replay-forced', 'true') else '{}' end
           from marked order by topic, "partition", recorded_at, "offset""#,
    )
    .bind(ids)
    .bind(order.id)
    .bind(&order.actor)
    .bind(order.reason.as_deref())
    .bind(&order.selection)
    .bind(order.force)
    .execute(tx)
    .await?;
    Ok(replayed.rows_affected())
}

/// The replays of one letter, oldest first.
///
/// # Errors
/// Any [`sqlx::Error`].
pub async fn history(pool: &PgPool, letter: i64) -> Result<Vec<History>, sqlx::Error> {
    sqlx::query_as(
        "select replay_id, requested_at, actor, reason, replay_count, replay_topic
         from replayed_letters join replays on replays.id = replay_id
         where letter_id = $1 order by replay_count",
    )
    .bind(letter)
    .fetch_all(pool)
    .await
}

/// The audit, newest first, beginning below the id `before`.
///
/// # Errors
/// Any [`sqlx::Error`].
pub async fn replays(
    pool: &PgPool,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<ReplaySummary>, sqlx::Error> {
    sqlx::query_as(
        "select id, requested_at, actor, reason, selection, letters from replays
         where $1::uuid is null or id < $1 order by id desc limit $2",
    )
    .bind(before)
    .bind(limit)
    .fetch_all(pool)
    .await
}
