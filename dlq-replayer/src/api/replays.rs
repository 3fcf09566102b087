//! Replays: one letter, a selection, everything of a topic or group.

use std::sync::Arc;

use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use http_kit::{
    Cursor, FieldError, Limit, Page, Path, Problem, ProblemBody, Query, StrictJson, ValidJson,
    Validate,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::App;
use super::views::{ReplayAnswer, ReplayView};
use crate::replay::{self, Choice, Outcome};
use crate::store::{self, Scope};

/// Who asks, when the body does not say: a header of this name.
const ACTOR_HEADER: &str = "oncebox-actor";
const UNNAMED: &str = "unnamed";
const ACTOR_CHARACTERS: usize = 200;
const REASON_CHARACTERS: usize = 1_000;
const MOST_IDS: usize = 10_000;
const MOST_LETTERS: i64 = 100_000;
/// The answer names this many letters; the audit has them all.
const SHOWN_IDS: usize = 1_000;

/// How to replay one letter. Every field may be left out.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({"reason": "merchant account added", "actor": "kim"}))]
pub(super) struct ReplayOne {
    /// Who asks; otherwise the header `oncebox-actor`.
    actor: Option<String>,
    /// Why.
    reason: Option<String>,
    /// Also if it was replayed before.
    again: bool,
    /// Also if the event is so old that its consumer may have forgotten whether it was handled.
    force: bool,
}

/// Which letters to replay: `ids`, or everything that matches the other fields.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({"group": "payment", "error_code": "payment.merchant_account_missing", "reason": "merchant account added", "actor": "kim"}))]
pub(super) struct ReplayMany {
    /// These letters, all of them or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<Vec<i64>>,
    /// All of this dead-letter topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    /// All of this group.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// All with this error code.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<String>,
    /// Only letters written until then; otherwise until now. What arrives later is never included.
    #[serde(skip_serializing_if = "Option::is_none")]
    up_to: Option<DateTime<Utc>>,
    /// At most so many, the oldest first; 100000 at most, which is also what is taken when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<i64>,
    /// Also letters that were replayed before.
    again: bool,
    /// Also events so old that their consumer may have forgotten whether they were handled.
    force: bool,
    /// Tell what would be replayed, and do nothing.
    dry_run: bool,
    /// Who asks; otherwise the header `oncebox-actor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Validate for ReplayOne {
    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        check_text(
            &mut errors,
            "/actor",
            self.actor.as_deref(),
            ACTOR_CHARACTERS,
        );
        check_text(
            &mut errors,
            "/reason",
            self.reason.as_deref(),
            REASON_CHARACTERS,
        );
        errors
    }
}

impl Validate for ReplayMany {
    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let scoped = self.topic.is_some() || self.group.is_some() || self.error_code.is_some();
        match &self.ids {
            None if !scoped => {
                errors.push(FieldError::at(
                    "",
                    "say which letters: ids, or topic, group or error_code",
                ));
            }
            Some(_) if scoped || self.up_to.is_some() || self.limit.is_some() => {
                errors.push(FieldError::at(
                    "/ids",
                    "ids stand alone, without topic, group, error_code, up_to or limit",
                ));
            }
            Some(ids) if ids.is_empty() || ids.len() > MOST_IDS => {
                errors.push(FieldError::at(
                    "/ids",
                    format!("must hold 1 to {MOST_IDS} ids"),
                ));
            }
            _ => {}
        }
        if self
            .limit
            .is_some_and(|limit| !(1..=MOST_LETTERS).contains(&limit))
        {
            errors.push(FieldError::at(
                "/limit",
                format!("must be 1 to {MOST_LETTERS}"),
            ));
        }
        const NAME: usize = 1_000;
        check_text(&mut errors, "/topic", self.topic.as_deref(), NAME);
        check_text(&mut errors, "/group", self.group.as_deref(), NAME);
        check_text(&mut errors, "/error_code", self.error_code.as_deref(), NAME);
        check_text(
            &mut errors,
            "/actor",
            self.actor.as_deref(),
            ACTOR_CHARACTERS,
        );
        check_text(
            &mut errors,
            "/reason",
            self.reason.as_deref(),
            REASON_CHARACTERS,
        );
        errors
    }
}

fn check_text(errors: &mut Vec<FieldError>, pointer: &str, text: Option<&str>, most: usize) {
    let Some(text) = text else { return };
    if text.trim().is_empty() || text.chars().count() > most || text.contains('\0') {
        errors.push(FieldError::at(
            pointer,
            format!("must be text of 1 to {most} characters, without U+0000"),
        ));
    }
}

/// Replays one letter: the same event id, key and value, to the group that failed and to no other.
///
/// The replay and its audit are committed when this answers; the relay publishes it from the outbox. The consumer takes
/// each event once, so replaying what has been processed meanwhile changes nothing.
#[utoipa::path(post, path = "/v1/dlq/letters/{id}/replay", tag = "dead letters", security(("token" = [])),
    params(("id" = i64, Path, description = "id of the dead letter", example = 17)), request_body = Option<ReplayOne>,
    responses((status = 202, body = ReplayAnswer), (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "already replayed, or cannot be", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn replay_letter(
    State(app): State<Arc<App>>,
    Path(id): Path<i64>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    // A request without a body is the usual one.
    let body = if headers.contains_key(header::CONTENT_TYPE) {
        ValidJson::<ReplayOne>::from_request(request, &()).await?.0
    } else {
        ReplayOne::default()
    };
    let request = replay::Request {
        choice: Choice::Ids {
            ids: vec![id],
            again: body.again,
        },
        actor: actor(body.actor, &headers)?,
        reason: body.reason,
        selection: json!({ "ids": [id], "again": body.again, "force": body.force }),
        force: body.force,
        dry_run: false,
    };
    run(&app, request).await
}

/// Replays a selection, or everything of a topic, group or error code up to now.
///
/// What "everything" is, is settled when the request arrives: later dead letters are not included. Letters that cannot
/// be replayed are counted by reason in `skipped`; letters chosen by `ids` are replayed all together or not at all.
#[utoipa::path(post, path = "/v1/dlq/replays", tag = "dead letters", security(("token" = [])), request_body = ReplayMany,
    responses((status = 202, body = ReplayAnswer), (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn replay_many(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    ValidJson(body): ValidJson<ReplayMany>,
) -> Result<Response, Problem> {
    let asked = ReplayMany {
        actor: None,
        reason: None,
        ..body.clone()
    };
    let selection = serde_json::to_value(asked).map_err(Problem::internal)?;
    let choice = match body.ids {
        Some(mut ids) => {
            ids.sort_unstable();
            ids.dedup();
            Choice::Ids {
                ids,
                again: body.again,
            }
        }
        None => Choice::Matching {
            scope: Scope {
                topic: body.topic,
                group: body.group,
                error_code: body.error_code,
                up_to: body.up_to,
                again: body.again,
            },
            limit: body.limit.unwrap_or(MOST_LETTERS),
        },
    };
    let actor = actor(body.actor, &headers)?;
    run(
        &app,
        replay::Request {
            choice,
            actor,
            reason: body.reason,
            selection,
            force: body.force,
            dry_run: body.dry_run,
        },
    )
    .await
}

fn actor(stated: Option<String>, headers: &HeaderMap) -> Result<String, Problem> {
    if let Some(actor) = stated {
        return Ok(actor);
    }
    let Some(header) = headers.get(ACTOR_HEADER) else {
        return Ok(UNNAMED.to_owned());
    };
    let text = std::str::from_utf8(header.as_bytes())
        .unwrap_or_default()
        .trim();
    let mut errors = Vec::new();
    check_text(&mut errors, "/actor", Some(text), ACTOR_CHARACTERS);
    match errors.pop() {
        None => Ok(text.to_owned()),
        Some(error) => Err(Problem::validation(vec![FieldError::parameter(
            ACTOR_HEADER,
            error.detail,
        )])),
    }
}

async fn run(app: &App, request: replay::Request) -> Result<Response, Problem> {
    let outcome = replay::replay(&app.pool, &app.inspector, &request).await?;
    let status = if outcome.id.is_some() {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    Ok((status, axum::Json(answer(outcome, request.dry_run))).into_response())
}

fn answer(mut outcome: Outcome, dry_run: bool) -> ReplayAnswer {
    let replayed = outcome.ids.len();
    outcome.ids.truncate(SHOWN_IDS);
    ReplayAnswer {
        replay: outcome.id,
        dry_run,
        replayed,
        ids: outcome.ids,
        skipped: outcome.skipped,
        remaining: outcome.remaining,
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Replays {
    /// How many; 1 to 100.
    #[serde(default)]
    limit: Limit,
    /// The `next` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<Uuid>>,
}

/// Who replayed what, when and why; newest first.
#[utoipa::path(get, path = "/v1/dlq/replays", tag = "dead letters", params(Replays), security(("token" = [])),
    responses((status = 200, body = Page<ReplayView>)))]
pub(super) async fn replays(
    State(app): State<Arc<App>>,
    Query(query): Query<Replays>,
) -> Result<StrictJson<Page<ReplayView>>, Problem> {
    let before = query.cursor.map(|Cursor(id)| id);
    let rows = store::replays(&app.pool, before, query.limit.and_one()).await?;
    Ok(StrictJson(Page::of(rows, query.limit, |last| last.id).map(
        |row| ReplayView {
            replay: row.id,
            requested_at: row.requested_at,
            actor: row.actor,
            reason: row.reason,
            selection: row.selection,
            letters: row.letters,
        },
    )))
}
