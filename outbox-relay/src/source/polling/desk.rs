//! What operators ask about parked rows and decide about them; each decision leaves a line in the audit, in the same
//! transaction.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, FromRow, PgConnection};
use utoipa::ToSchema;
use uuid::Uuid;

use super::PollingSource;
use crate::api::views::AuditLine;
use crate::shard::Shard;
use crate::source::SourceError;

/// Counting stops here: a figure for a dashboard must not cost a scan of millions.
const BOUND: i64 = 100_000;

/// A parked row, without its value.
#[derive(Debug, Clone, FromRow)]
pub struct ParkedRow {
    /// The outbox row's number.
    pub seq: i64,
    /// Its event.
    pub event_id: Uuid,
    /// Its topic.
    pub topic: String,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Bytes of its value.
    pub payload_bytes: Option<i32>,
    /// `refused`, `waiting`, `delayed` or `dead`.
    pub state: String,
    /// What the broker said last.
    pub error: Option<String>,
    /// Times that it was refused.
    pub attempts: i32,
    /// When it was written.
    pub created_at: Option<DateTime<Utc>>,
    /// When it was parked.
    pub parked_at: DateTime<Utc>,
    /// When it is tried again, if it is refused.
    pub next_attempt_at: DateTime<Utc>,
    /// Before when it is not published.
    pub not_before: Option<DateTime<Utc>>,
}

/// How many rows are parked, each counted up to 100,000.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow, Serialize, Deserialize, ToSchema)]
pub struct Parkings {
    /// Refused by the broker, tried again.
    pub refused: i64,
    /// Behind a refused row of their key.
    pub waiting: i64,
    /// Until their time.
    pub delayed: i64,
    /// Skipped.
    pub dead: i64,
}

/// Which parked rows are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// The one with this number.
    pub seq: Option<i64>,
    /// Those of this topic.
    pub topic: Option<String>,
    /// Those of this key.
    pub key: Option<Vec<u8>>,
    /// Those in this state.
    pub state: Option<String>,
}

/// What is to become of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Refused rows are tried again now. Dead ones are tried again, later than rows of their key that went on without them.
    Retry,
    /// Refused rows are given up: they become dead, and their key goes on. Of one row also if it waits or is delayed.
    Skip,
    /// Dead rows are forgotten.
    Discard,
}

impl Decision {
    /// Its name in the audit.
    pub fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Skip => "skip",
            Self::Discard => "discard",
        }
    }
}

/// Who decides, and why.
#[derive(Debug, Clone)]
pub struct Decided<'a> {
    /// Who.
    pub actor: &'a str,
    /// Why.
    pub reason: &'a str,
}

const COLUMNS: &str = "seq, event_id, topic, key, octet_length(payload) as payload_bytes, state, error, attempts, created_at,
    parked_at, next_attempt_at, not_before";

/// ($1: seq, $2: topic, $3: key, $4: state); what is null does not choose.
const CHOSEN: &str = "($1::bigint is null or seq = $1) and ($2::text is null or topic = $2)
    and ($3::bytea is null or key_hash = sha256($3)) and ($4::text is null or state = $4)";

impl PollingSource {
    /// Parked rows after a number, in order, at most so many.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn list_parked(
        &mut self,
        choice: &Choice,
        after: i64,
        limit: i64,
    ) -> Result<Vec<ParkedRow>, SourceError> {
        let sql = format!(
            "select {COLUMNS} from oncebox.relay_parked where {CHOSEN} and seq > $5 order by seq limit $6"
        );
        self.link
            .ask(async |connection| {
                let rows = sqlx::query_as(sqlx::AssertSqlSafe(sql))
                    .bind(choice.seq)
                    .bind(&choice.topic)
                    .bind(&choice.key)
                    .bind(&choice.state)
                    .bind(after)
                    .bind(limit)
                    .fetch_all(connection)
                    .await?;
                Ok(rows)
            })
            .await
    }

    /// Value and headers of a parked row.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn parked_content(
        &mut self,
        seq: i64,
    ) -> Result<Option<(Option<Vec<u8>>, serde_json::Value)>, SourceError> {
        self.link
            .ask(async |connection| {
                let row = sqlx::query_as(
                    "select payload, headers from oncebox.relay_parked where seq = $1",
                )
                .bind(seq)
                .fetch_optional(connection)
                .await?;
                Ok(row)
            })
            .await
    }

    /// Lines of the audit before a number, the newest first, at most so many.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn audit(&mut self, before: i64, limit: i64) -> Result<Vec<AuditLine>, SourceError> {
        self.link
            .ask(async |connection| {
                let lines = sqlx::query_as(
                    "select id, at, actor, action, reason, rows, detail from oncebox.relay_audit
                 where id < $1 order by id desc limit $2",
                )
                .bind(before)
                .bind(limit)
                .fetch_all(connection)
                .await?;
                Ok(lines)
            })
            .await
    }

    /// Decides about rows; returns how many it concerns.
    ///
    /// # Errors
    /// [`SourceError`]; nothing is changed then.
    pub async fn decide(
        &mut self,
        choice: &Choice,
        decision: Decision,
        decided: Decided<'_>,
    ) -> Result<u64, SourceError> {
        self.link
            .ask(async |connection| decide(connection, choice, decision, decided).await)
            .await
    }
}

pub(super) async fn parkings(
    connection: &mut PgConnection,
    shard: Shard,
) -> Result<Parkings, SourceError> {
    let shard = shard.parked();
    let count = |state: &str| {
        format!(
            "(select count(*) from (
                select from oncebox.relay_parked where state = '{state}' and {shard} limit {BOUND}) as counted) as {state}"
        )
    };
    let sql = format!(
        "select {}, {}, {}, {}",
        count("refused"),
        count("waiting"),
        count("delayed"),
        count("dead")
    );
    let parkings = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .fetch_one(connection)
        .await?;
    Ok(parkings)
}

async fn decide(
    connection: &mut PgConnection,
    choice: &Choice,
    decision: Decision,
    decided: Decided<'_>,
) -> Result<u64, SourceError> {
    let change = match decision {
        Decision::Retry => {
            "update oncebox.relay_parked set state = 'refused', next_attempt_at = clock_timestamp()
             where state in ('refused', 'dead')"
        }
        Decision::Skip if choice.seq.is_some() => {
            "update oncebox.relay_parked set state = 'dead', parked_at = clock_timestamp()
             where state in ('refused', 'waiting', 'delayed')"
        }
        Decision::Skip => {
            "update oncebox.relay_parked set state = 'dead', parked_at = clock_timestamp() where state = 'refused'"
        }
        Decision::Discard => "delete from oncebox.relay_parked where state = 'dead'",
    };
    let mut tx = connection.begin().await?;
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!("{change} and {CHOSEN}")))
        .bind(choice.seq)
        .bind(&choice.topic)
        .bind(&choice.key)
        .bind(&choice.state)
        .execute(&mut *tx)
        .await?
        .rows_affected();
    if rows > 0 {
        let detail = serde_json::json!({
            "seq": choice.seq, "topic": choice.topic, "state": choice.state,
            "key": choice.key.as_deref().map(String::from_utf8_lossy),
        });
        sqlx::query(
            "insert into oncebox.relay_audit (actor, action, reason, rows, detail) values ($1, $2, $3, $4, $5)",
        )
        .bind(decided.actor)
        .bind(decision.name())
        .bind(decided.reason)
        .bind(i64::try_from(rows).unwrap_or(i64::MAX))
        .bind(detail)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(rows)
}
