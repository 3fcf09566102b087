//! Kafka's topics and groups.

use std::sync::Arc;

use axum::extract::State;
use http_kit::{Path, Problem, ProblemBody, StrictJson};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use crate::domain::cluster::{GroupDetail, GroupSummary, TopicDetail, TopicSummary};

/// All topics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TopicList {
    /// By name.
    pub items: Vec<TopicSummary>,
}

/// All consumer groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GroupList {
    /// By name.
    pub items: Vec<GroupSummary>,
}

/// All topics.
#[utoipa::path(get, path = "/v1/topics", tag = "kafka", security(("token" = [])),
    responses((status = 200, body = TopicList), (status = 503, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn topics(State(app): State<Arc<App>>) -> Result<StrictJson<TopicList>, Problem> {
    Ok(StrictJson(TopicList {
        items: app.inspector.topics().await?,
    }))
}

/// One topic: partitions with their offsets, and settings.
#[utoipa::path(get, path = "/v1/topics/{topic}", tag = "kafka", security(("token" = [])),
    params(("topic" = String, Path, description = "full name", example = "order.events")),
    responses((status = 200, body = TopicDetail), (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn topic(
    State(app): State<Arc<App>>,
    Path(topic): Path<String>,
) -> Result<StrictJson<TopicDetail>, Problem> {
    Ok(StrictJson(app.inspector.topic(topic).await?))
}

/// All consumer groups.
#[utoipa::path(get, path = "/v1/groups", tag = "kafka", security(("token" = [])),
    responses((status = 200, body = GroupList), (status = 503, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn groups(State(app): State<Arc<App>>) -> Result<StrictJson<GroupList>, Problem> {
    Ok(StrictJson(GroupList {
        items: app.inspector.groups().await?,
    }))
}

/// One consumer group: members, and lag by partition.
#[utoipa::path(get, path = "/v1/groups/{group}", tag = "kafka", security(("token" = [])),
    params(("group" = String, Path, description = "name of the group", example = "payment")),
    responses((status = 200, body = GroupDetail), (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn group(
    State(app): State<Arc<App>>,
    Path(group): Path<String>,
) -> Result<StrictJson<GroupDetail>, Problem> {
    Ok(StrictJson(app.inspector.group(group).await?))
}
