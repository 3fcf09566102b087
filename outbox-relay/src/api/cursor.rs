//! The cursor: how far a source is published, and putting it elsewhere.

use std::time::Duration;

use axum::extract::State as Shares;
use http_kit::{FieldError, Path, Problem, ProblemBody, StrictJson, ValidJson, Validate};
use tokio::sync::oneshot;

use super::Desks;
use super::parked::{desk, who_and_why};
use super::problems::{cursor_elsewhere, cursor_not_set, of_source};
use super::views::{CursorRequest, CursorSet, CursorView};
use crate::reset::{Order, Reset};
use crate::source::Source as _;
use crate::state::State;

/// Taking a source over and writing every row of its outbox anew is the longest that an order takes.
const PATIENCE: Duration = Duration::from_secs(300);

/// How far a source is published: the cursor in Kafka, and its copy beside the outbox
#[utoipa::path(get, path = "/v1/sources/{source}/cursor", tag = "cursor", params(("source" = String, Path)), security(("token" = [])),
    responses((status = 200, body = CursorView), (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn show(
    Shares(desks): Shares<Desks>,
    Path(source): Path<String>,
) -> Result<StrictJson<CursorView>, Problem> {
    let desk = desk(&desks, &source)?;
    let kafka = desk.seat.last_cursor().await.map_err(cursor_not_set)?;
    let copy = desk.database.lock().await.copied_cursor().await;
    let (copy, copied_at) = copy.map_err(of_source)?.unzip();
    Ok(StrictJson(CursorView {
        kafka,
        copy,
        copied_at,
    }))
}

/// Puts the cursor elsewhere
///
/// For a source that has stopped because its database was restored, failed over or replaced. `adopt` goes on from the copy
/// that came with the database, and publishes again what was published after that copy; `begin` publishes everything that
/// the outbox holds again; `now` counts all that is committed as published.
#[utoipa::path(post, path = "/v1/sources/{source}/cursor", tag = "cursor", params(("source" = String, Path)), security(("token" = [])),
    request_body = CursorRequest,
    responses((status = 200, body = CursorSet), (status = 404, body = ProblemBody, content_type = "application/problem+json"),
              (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn set(
    Shares(desks): Shares<Desks>,
    Path(source): Path<String>,
    ValidJson(request): ValidJson<CursorRequest>,
) -> Result<StrictJson<CursorSet>, Problem> {
    let desk = desk(&desks, &source)?;
    if let State::Standby(holder) = desk.shared.status().state {
        return Err(cursor_elsewhere(&source, &holder));
    }
    let (answer, answered) = oneshot::channel();
    let order = Order {
        reset: Reset {
            goal: request.to,
            actor: request.actor,
            reason: request.reason,
        },
        answer,
    };
    desk.orders
        .try_send(order)
        .map_err(|_| cursor_not_set("another order for this source is being carried out".into()))?;
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(Ok(Ok(cursor))) => {
            // Its connection may still expect the database from before.
            desk.database.lock().await.forget_identity();
            Ok(StrictJson(CursorSet { cursor }))
        }
        Ok(Ok(Err(reason))) => Err(cursor_not_set(reason)),
        Ok(Err(_)) => Err(cursor_not_set("the relay is stopping".into())),
        Err(_) => Err(cursor_not_set(
            "the source did not come to it; it is done when database and broker answer".into(),
        )),
    }
}

impl Validate for CursorRequest {
    fn validate(&self) -> Vec<FieldError> {
        who_and_why(&self.actor, &self.reason)
    }
}
