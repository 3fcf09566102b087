//! Shards: how a source is divided among relays, and dividing it anew.

use axum::extract::State as Shares;
use http_kit::{
    FieldError, Path, Problem, ProblemBody, StatusCode, StrictJson, ValidJson, Validate,
};

use super::parked::{desk, who_and_why};
use super::problems::of_source;
use super::views::{ChangeView, DivideRequest, LeaseView, ShardsView};
use super::{Desk, Desks};
use crate::coordinator::Task;
use crate::reset::By;
use crate::shard::{Layout, Shard};
use crate::source::{Roster, Source as _};

/// How a source is divided, and which relays publish its shards
#[utoipa::path(get, path = "/v1/sources/{source}/shards", tag = "shards", params(("source" = String, Path)),
    responses((status = 200, body = ShardsView), (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn show(
    Shares(desks): Shares<Desks>,
    Path(source): Path<String>,
) -> Result<StrictJson<ShardsView>, Problem> {
    let roster = desk(&desks, &source)?.database.lock().await.roster().await;
    Ok(StrictJson(roster.map_err(of_source)?.into()))
}

/// Divides a source anew
///
/// Every shard is published up to one moment, at which the new ones begin, so that nothing is lost, doubled or reordered.
/// What commits meanwhile waits for the new shards. 202 where that takes long: ask for the change again.
#[utoipa::path(post, path = "/v1/sources/{source}/shards", tag = "shards", params(("source" = String, Path)), security(("token" = [])),
    request_body = DivideRequest,
    responses((status = 200, body = ChangeView), (status = 202, body = ChangeView), (status = 404, body = ProblemBody, content_type = "application/problem+json"),
              (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn divide(
    Shares(desks): Shares<Desks>,
    Path(source): Path<String>,
    ValidJson(request): ValidJson<DivideRequest>,
) -> Result<(StatusCode, StrictJson<ChangeView>), Problem> {
    let by = By {
        actor: request.actor,
        reason: request.reason,
    };
    let task = Task::Divide(request.shards, by);
    let change = desk(&desks, &source)?.order(task).await?;
    Ok(change.answer())
}

/// What became of the last order to divide a source anew, or to put its cursors elsewhere
#[utoipa::path(get, path = "/v1/sources/{source}/change", tag = "shards", params(("source" = String, Path)),
    responses((status = 200, body = ChangeView), (status = 404, body = ProblemBody, content_type = "application/problem+json"),
              (status = 409, description = "It was given up.", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn change(
    Shares(desks): Shares<Desks>,
    Path(source): Path<String>,
) -> Result<StrictJson<ChangeView>, Problem> {
    Ok(StrictJson(desk(&desks, &source)?.change()?))
}

/// How the source is divided, as its database says.
pub(super) async fn layout(desk: &Desk) -> Result<Layout, Problem> {
    match desk.database.lock().await.layout().await {
        Err(error) if error.is_absent() => Ok(Layout::FIRST),
        layout => layout.map_err(of_source),
    }
}

impl Validate for DivideRequest {
    fn validate(&self) -> Vec<FieldError> {
        let mut errors = who_and_why(&self.actor, &self.reason);
        if !(1..=Shard::MOST).contains(&self.shards) {
            let wrong = format!("must be from 1 to {}", Shard::MOST);
            errors.push(FieldError::at("/shards", wrong));
        }
        errors
    }
}

impl From<Roster> for ShardsView {
    fn from(roster: Roster) -> Self {
        let live = roster.leases.into_iter().filter(|lease| !lease.expired);
        let mut leases: Vec<_> = live
            .map(|lease| LeaseView {
                shard: lease.shard,
                relay: lease.holder,
            })
            .collect();
        leases.sort_by_key(|lease| lease.shard);
        Self {
            shards: roster.layout.shards,
            leases,
            relays: roster
                .members
                .into_iter()
                .map(|member| member.holder)
                .collect(),
            changed_by: roster.layout.change.map(|change| change.holder),
        }
    }
}
