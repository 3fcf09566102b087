//! Notifications as they stand: one, or a list of them.

use axum::extract::State;
use http_kit::{
    Cursor, FieldError, Kind, Limit, Page, Path, Problem, ProblemBody, Query, StatusCode,
    StrictJson, kinds,
};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::App;
use super::views::NotificationView;
use crate::domain::{Recipient, Status};
use crate::store::read::{self, Filter};

const NOT_FOUND: Kind = Kind::new(
    StatusCode::NOT_FOUND,
    "notification.not_found",
    "no such notification",
);

/// Which notifications, and how many.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only notifications to this address, in upper or lower case.
    #[param(example = "ada@example.com")]
    recipient: Option<String>,
    /// Only notifications of this order.
    order: Option<Uuid>,
    /// Only notifications with this status: `pending`, `sent` or `failed`.
    #[param(example = "failed")]
    status: Option<String>,
    /// Notifications on a page, 1 to 100; 20 unless given.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100, default = 20)]
    limit: Limit,
    /// The `next` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<Uuid>>,
}

/// List notifications, newest first.
#[utoipa::path(
    get, path = "/v1/notifications", tag = "notifications", params(ListQuery),
    responses(
        (status = 200, description = "A page of notifications; `next` is absent on the last one.",
         body = Page<NotificationView>),
        (status = 400, description = "`request.query_invalid`: a parameter is unknown or wrong.",
         body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Result<StrictJson<Page<NotificationView>>, Problem> {
    let (limit, before) = (query.limit, query.cursor.as_ref().map(|cursor| cursor.0));
    let filter = filter(query)?;
    let rows = read::list(&app.pool, &filter, before, limit.and_one()).await?;
    let page = Page::of(rows, limit, |last| last.id);
    Ok(StrictJson(page.map(NotificationView::from)))
}

/// Show a notification.
#[utoipa::path(
    get, path = "/v1/notifications/{notification_id}", tag = "notifications",
    params(("notification_id" = Uuid, Path, description = "The notification.")),
    responses(
        (status = 200, description = "The notification as it stands.", body = NotificationView),
        (status = 404, description = "`notification.not_found`",
         body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(app): State<App>,
    Path(id): Path<Uuid>,
) -> Result<StrictJson<NotificationView>, Problem> {
    let row = read::find(&app.pool, id).await?.ok_or_else(|| {
        Problem::of(NOT_FOUND)
            .detail(format!("notification {id} does not exist"))
            .with("notification_id", id)
    })?;
    Ok(StrictJson(row.into()))
}

fn filter(query: ListQuery) -> Result<Filter, Problem> {
    let mut wrong = Vec::new();
    let recipient = query.recipient.and_then(|text| {
        let recipient = Recipient::new(Some(&text));
        if recipient.is_none() {
            wrong.push(FieldError::parameter(
                "recipient",
                format!("must be an address of 1 to {} characters", Recipient::MAX),
            ));
        }
        recipient.map(|recipient| recipient.expose().to_owned())
    });
    let status = query.status.and_then(|text| {
        let status = Status::parse(&text);
        if status.is_none() {
            wrong.push(FieldError::parameter(
                "status",
                format!("{text:?} is none of pending, sent, failed"),
            ));
        }
        status
    });
    if wrong.is_empty() {
        let order = query.order;
        return Ok(Filter {
            recipient,
            order,
            status,
        });
    }
    let problem =
        Problem::of(kinds::QUERY_INVALID).detail("a filter has a value that it cannot have");
    Err(wrong.into_iter().fold(problem, Problem::error))
}
