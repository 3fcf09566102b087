//! The cursors: how far a source is published, and putting that elsewhere.

use axum::extract::State as Shares;
use http_kit::{
    FieldError, Path, Problem, ProblemBody, StatusCode, StrictJson, ValidJson, Validate,
};

use super::Desks;
use super::parked::{desk, who_and_why};
use super::problems::{not_changed, of_source};
use super::views::{ChangeView, CursorRequest, CursorView};
use crate::coordinator::Task;
use crate::reset::{By, Reset};
use crate::source::Source as _;

/// How far each shard of a source is published: the cursor in Kafka, and its copy beside the outbox
#[utoipa::path(get, path = "/v1/sources/{source}/cursor", tag = "cursor", params(("source" = String, Path)), security(("token" = [])),
    responses((status = 200, body = Vec<CursorView>), (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn show(
    Shares(desks): Shares<Desks>,
    Path(source): Path<String>,
) -> Result<StrictJson<Vec<CursorView>>, Problem> {
    let desk = desk(&desks, &source)?;
    let layout = super::shards::layout(desk).await?;
    let mut views = Vec::new();
    for shard in layout.shards() {
        let kafka = desk.seats.seat(layout.id, shard).last_cursor().await;
        let mut database = desk.database.lock().await;
        database.look_at(shard);
        let copy = database.copied_cursor().await.map_err(of_source)?;
        let (copy, copied_at) = copy.unzip();
        views.push(CursorView {
            shard: shard.index(),
            kafka: kafka.map_err(not_changed)?,
            copy,
            copied_at,
        });
    }
    Ok(StrictJson(views))
}

/// Puts the cursors elsewhere
///
/// For a source that has stopped because its database was restored, failed over or replaced. `adopt` goes on from the copies
/// that came with the database, and publishes again what was published after those; `begin` publishes everything that
/// the outbox holds again; `now` counts all that is committed as published. 202 where that takes long: ask for the change
/// again.
#[utoipa::path(post, path = "/v1/sources/{source}/cursor", tag = "cursor", params(("source" = String, Path)), security(("token" = [])),
    request_body = CursorRequest,
    responses((status = 200, body = ChangeView), (status = 202, body = ChangeView), (status = 404, body = ProblemBody, content_type = "application/problem+json"),
              (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn set(
    Shares(desks): Shares<Desks>,
    Path(source): Path<String>,
    ValidJson(request): ValidJson<CursorRequest>,
) -> Result<(StatusCode, StrictJson<ChangeView>), Problem> {
    let task = Task::Reset(Reset {
        goal: request.to,
        by: By {
            actor: request.actor,
            reason: request.reason,
        },
    });
    let change = desk(&desks, &source)?.order(task).await?;
    Ok(change.answer())
}

impl Validate for CursorRequest {
    fn validate(&self) -> Vec<FieldError> {
        who_and_why(&self.actor, &self.reason)
    }
}
