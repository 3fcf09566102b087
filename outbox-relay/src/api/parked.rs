//! Parked rows: list, show, decide; and the audit.

use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_kit::{
    Cursor, FieldError, Limit, Page, Path, Problem, ProblemBody, Query, StrictJson, ValidJson,
    Validate,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::problems::{of_source, parked_unknown, source_unknown};
use super::views::{
    AuditLine, BytesView, Decided, DecisionRequest, ParkedDetail, ParkedState, ParkedView,
};
use super::{Desk, Desks};
use crate::source::{Choice, Decided as By};

const ACTOR_CHARACTERS: usize = 200;
const REASON_CHARACTERS: usize = 1_000;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only rows in this state.
    state: Option<ParkedState>,
    /// Only rows of this topic.
    #[param(example = "order.events")]
    topic: Option<String>,
    /// Only rows of this key, as text.
    key: Option<String>,
    /// How many; 1 to 100.
    #[serde(default)]
    limit: Limit,
    /// The `next` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<i64>>,
}

/// Parked rows of a source, in the order of the outbox
#[utoipa::path(get, path = "/v1/sources/{source}/parked", tag = "parked rows", params(("source" = String, Path), ListQuery), security(("token" = [])),
    responses((status = 200, body = Page<ParkedView>), (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(desks): State<Desks>,
    Path(source): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<StrictJson<Page<ParkedView>>, Problem> {
    let choice = Choice {
        seq: None,
        topic: query.topic,
        key: query.key.map(String::into_bytes),
        state: query.state.map(|state| state.name().to_owned()),
    };
    let after = query.cursor.map_or(i64::MIN, |Cursor(seq)| seq);
    let mut database = desk(&desks, &source)?.database.lock().await;
    let rows = database
        .list_parked(&choice, after, query.limit.and_one())
        .await
        .map_err(of_source)?;
    let page = Page::of(rows, query.limit, |row| row.seq);
    Ok(StrictJson(page.map(ParkedView::from)))
}

/// One parked row with its value and headers
#[utoipa::path(get, path = "/v1/sources/{source}/parked/{seq}", tag = "parked rows", params(("source" = String, Path), ("seq" = i64, Path)), security(("token" = [])),
    responses((status = 200, body = ParkedDetail), (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn show(
    State(desks): State<Desks>,
    Path((source, seq)): Path<(String, i64)>,
) -> Result<StrictJson<ParkedDetail>, Problem> {
    let choice = Choice {
        seq: Some(seq),
        ..Choice::default()
    };
    let mut database = desk(&desks, &source)?.database.lock().await;
    let row = database
        .list_parked(&choice, i64::MIN, 1)
        .await
        .map_err(of_source)?
        .pop();
    let content = database.parked_content(seq).await.map_err(of_source)?;
    match (row, content) {
        (Some(row), Some((payload, headers))) => Ok(StrictJson(ParkedDetail {
            row: row.into(),
            payload: payload.map(BytesView::from),
            headers,
        })),
        _ => Err(parked_unknown(&source, seq)),
    }
}

/// Tries parked rows again, skips or discards them
///
/// `retry` is for rows whose cause is repaired; they are tried by themselves too, after growing pauses. `skip` gives refused
/// rows up, so that the rows behind them go on; they are kept as `dead`. `discard` forgets dead rows.
#[utoipa::path(post, path = "/v1/sources/{source}/parked/decisions", tag = "parked rows", params(("source" = String, Path)), security(("token" = [])),
    request_body = DecisionRequest,
    responses((status = 200, body = Decided), (status = 404, body = ProblemBody, content_type = "application/problem+json"),
              (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn decide(
    State(desks): State<Desks>,
    Path(source): Path<String>,
    ValidJson(request): ValidJson<DecisionRequest>,
) -> Result<StrictJson<Decided>, Problem> {
    let desk = desk(&desks, &source)?;
    let key = match request.key {
        None => None,
        Some(BytesView::Text(text)) => Some(text.into_bytes()),
        Some(BytesView::Binary { base64 }) => Some(BASE64.decode(base64).map_err(|error| {
            Problem::validation(vec![FieldError::at("/key/base64", error.to_string())])
        })?),
    };
    let choice = Choice {
        seq: request.seq,
        topic: request.topic,
        key,
        state: None,
    };
    let by = By {
        actor: &request.actor,
        reason: &request.reason,
    };
    let rows = desk
        .database
        .lock()
        .await
        .decide(&choice, request.decision, by)
        .await
        .map_err(of_source)?;
    desk.shards.poke();
    match request.seq {
        Some(seq) if rows == 0 => Err(parked_unknown(&source, seq)),
        _ => Ok(StrictJson(Decided { rows })),
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// How many; 1 to 100.
    #[serde(default)]
    limit: Limit,
    /// The `next` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<i64>>,
}

/// What operators decided about a source, newest first
#[utoipa::path(get, path = "/v1/sources/{source}/audit", tag = "sources", params(("source" = String, Path), AuditQuery), security(("token" = [])),
    responses((status = 200, body = Page<AuditLine>), (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn audit(
    State(desks): State<Desks>,
    Path(source): Path<String>,
    Query(query): Query<AuditQuery>,
) -> Result<StrictJson<Page<AuditLine>>, Problem> {
    let before = query.cursor.map_or(i64::MAX, |Cursor(id)| id);
    let mut database = desk(&desks, &source)?.database.lock().await;
    let lines = database
        .audit(before, query.limit.and_one())
        .await
        .map_err(of_source)?;
    Ok(StrictJson(Page::of(lines, query.limit, |line| line.id)))
}

pub(super) fn desk<'a>(desks: &'a Desks, source: &str) -> Result<&'a Desk, Problem> {
    desks
        .get(source)
        .ok_or_else(|| source_unknown(source, desks.keys()))
}

impl Validate for DecisionRequest {
    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let scoped = self.topic.is_some() || self.key.is_some();
        match (self.seq.is_some(), scoped, self.all) {
            (true, false, false) | (false, true, false) | (false, false, true) => {}
            (false, false, false) => errors.push(FieldError::at(
                "",
                "say which rows: seq, or topic and key, or all",
            )),
            _ => errors.push(FieldError::at(
                "",
                "seq, topic and key, and all exclude each other",
            )),
        }
        errors.extend(who_and_why(&self.actor, &self.reason));
        errors
    }
}

/// What is wrong with the signature of a decision.
pub(super) fn who_and_why(actor: &str, reason: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (pointer, text, most) in [
        ("/actor", actor, ACTOR_CHARACTERS),
        ("/reason", reason, REASON_CHARACTERS),
    ] {
        if text.trim().is_empty() {
            errors.push(FieldError::at(pointer, "must not be empty"));
        } else if text.chars().count() > most || text.contains('\0') {
            let wrong = format!("must have at most {most} characters, and no zero character");
            errors.push(FieldError::at(pointer, wrong));
        }
    }
    errors
}
