//! Dead letters: topics, lists, one in full.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use http_kit::{Cursor, Limit, Page, Path, Problem, ProblemBody, Query, StrictJson};
use oncebox::Headers;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::problems::{letter_unknown, no_nul};
use super::views::{DlqTopicList, DlqTopicView, LetterDetail, LetterReplay, LetterView};
use super::{App, bytes};
use crate::domain::letter::Unreplayable;
use crate::store::{self, LetterSummary};

/// Dead-letter topics that hold letters, with how many are open and how many were replayed.
#[utoipa::path(get, path = "/v1/dlq/topics", tag = "dead letters", security(("token" = [])),
    responses((status = 200, body = DlqTopicList), (status = 401, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn topics(
    State(app): State<Arc<App>>,
) -> Result<StrictJson<DlqTopicList>, Problem> {
    let items = store::topics(&app.pool)
        .await?
        .into_iter()
        .map(|row| DlqTopicView {
            topic: row.topic,
            source_topic: row.source_topic,
            group: row.group,
            open: row.open,
            replayed: row.replayed,
            oldest: row.oldest,
            newest: row.newest,
        })
        .collect();
    Ok(StrictJson(DlqTopicList { items }))
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    Open,
    Replayed,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Letters {
    /// Dead-letter topic.
    #[param(example = "payment.commands.payment.dlq")]
    topic: Option<String>,
    /// Group that failed.
    #[param(example = "payment")]
    group: Option<String>,
    /// Only open or only replayed letters.
    status: Option<Status>,
    /// Code of the error.
    #[param(example = "payment.merchant_account_missing")]
    error_code: Option<String>,
    /// The event's id.
    event_id: Option<Uuid>,
    /// The record's key, as text.
    key: Option<String>,
    /// How many; 1 to 100.
    #[serde(default)]
    limit: Limit,
    /// The `next` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<i64>>,
}

/// Dead letters, newest first.
#[utoipa::path(get, path = "/v1/dlq/letters", tag = "dead letters", params(Letters), security(("token" = [])),
    responses((status = 200, body = Page<LetterView>), (status = 400, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn letters(
    State(app): State<Arc<App>>,
    Query(query): Query<Letters>,
) -> Result<StrictJson<Page<LetterView>>, Problem> {
    no_nul("topic", query.topic.as_deref())?;
    no_nul("group", query.group.as_deref())?;
    no_nul("error_code", query.error_code.as_deref())?;
    let filter = store::Filter {
        topic: query.topic,
        group: query.group,
        status: query.status.map(|status| match status {
            Status::Open => "open",
            Status::Replayed => "replayed",
        }),
        error_code: query.error_code,
        event_id: query.event_id,
        key: query.key.map(String::into_bytes),
    };
    let before = query.cursor.map(|Cursor(id)| id);
    let rows = store::letters(&app.pool, &filter, before, query.limit.and_one()).await?;
    Ok(StrictJson(
        Page::of(rows, query.limit, |last| last.id).map(view),
    ))
}

/// A dead letter in full: decoded value, headers, error, replays.
#[utoipa::path(get, path = "/v1/dlq/letters/{id}", tag = "dead letters", security(("token" = [])),
    params(("id" = i64, Path, description = "id of the dead letter", example = 17)),
    responses((status = 200, body = LetterDetail), (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn letter(
    State(app): State<Arc<App>>,
    Path(id): Path<i64>,
) -> Result<StrictJson<LetterDetail>, Problem> {
    let row = store::letter(&app.pool, id)
        .await?
        .ok_or_else(|| letter_unknown(id))?;
    let headers = |json| Headers::from_json(json).map_err(Problem::internal);
    let replays = store::history(&app.pool, id).await?;
    Ok(StrictJson(LetterDetail {
        value: bytes::value(&app.codec, row.value.as_deref()).await,
        headers: bytes::headers(&headers(&row.headers)?),
        error_headers: bytes::headers(&headers(&row.error_headers)?),
        letter: view(row.summary),
        source_partition: row.source_partition,
        source_offset: row.source_offset,
        error_site: row.error_site,
        service_version: row.service_version,
        replay_topic: row.replay_topic,
        unreplayable: row
            .unreplayable
            .map(|code| Unreplayable::explain(&code).to_owned()),
        prior_replays: row.prior_replays,
        replay_of: row.replay_of,
        failed_again_as: row.failed_again_as,
        replays: replays
            .into_iter()
            .map(|replay| LetterReplay {
                replay: replay.replay_id,
                requested_at: replay.requested_at,
                actor: replay.actor,
                reason: replay.reason,
                count: replay.replay_count,
                topic: replay.replay_topic,
            })
            .collect(),
    }))
}

/// The bytes of a dead letter's value, as they are. No content for a tombstone.
#[utoipa::path(get, path = "/v1/dlq/letters/{id}/value", tag = "dead letters", security(("token" = [])),
    params(("id" = i64, Path, description = "id of the dead letter", example = 17)),
    responses((status = 200, description = "the bytes", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 204, description = "a tombstone"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn value(
    State(app): State<Arc<App>>,
    Path(id): Path<i64>,
) -> Result<Response, Problem> {
    let value = store::value(&app.pool, id)
        .await?
        .ok_or_else(|| letter_unknown(id))?;
    Ok(match value {
        Some(value) => ([(CONTENT_TYPE, "application/octet-stream")], value).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

fn view(row: LetterSummary) -> LetterView {
    LetterView {
        id: row.id,
        status: row.status,
        topic: row.topic,
        partition: row.partition,
        offset: row.offset,
        recorded_at: row.recorded_at,
        source_topic: row.source_topic,
        group: row.group,
        event_id: row.event_id,
        key: row.key.as_deref().map(bytes::bytes),
        error_class: row.error_class,
        error_code: row.error_code,
        error_message: row.error_message,
        attempts: row.attempts,
        first_failed_at: row.first_failed_at,
        last_failed_at: row.last_failed_at,
        replay_count: row.replay_count,
        indexed_at: row.indexed_at,
    }
}
