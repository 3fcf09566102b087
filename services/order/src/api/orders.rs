//! Orders as they stand: one, or a list of them.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_kit::{
    Cursor, FieldError, Limit, Page, Path, Problem, ProblemBody, Query, StrictJson, kinds,
};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::App;
use super::problems::not_found;
use super::views::OrderView;
use crate::domain::CustomerId;
use crate::domain::saga::{Status, Verdict};
use crate::store::read::{self, Filter, OrderRow};

/// Which orders, and how many.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only orders with this status: `CREATED`, `RESERVED`, `AUTHORIZED`, `PAID` or `CANCELLED`.
    #[param(example = "PAID")]
    status: Option<String>,
    /// Only orders with this verdict: `pending`, `confirmed`, `rejected` or `cancelled`.
    #[param(example = "confirmed")]
    verdict: Option<String>,
    /// Orders on a page, 1 to 100; 20 unless given.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100, default = 20)]
    limit: Limit,
    /// The `next` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<Uuid>>,
}

/// List orders, newest first.
#[utoipa::path(
    get, path = "/v1/orders", tag = "orders", params(ListQuery),
    responses(
        (status = 200, description = "A page of orders; `next` is absent on the last one.", body = Page<OrderView>),
        (status = 400, description = "`request.query_invalid`: a parameter is unknown or wrong.",
         body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Result<StrictJson<Page<OrderView>>, Problem> {
    page(&app, query, None).await.map(StrictJson)
}

/// List a customer's orders, newest first.
#[utoipa::path(
    get, path = "/v1/customers/{customer_id}/orders", tag = "orders",
    params(("customer_id" = String, Path, description = "As submitted.", example = "customer-1"), ListQuery),
    responses(
        (status = 200, description = "A page of orders; empty for a customer without any.", body = Page<OrderView>),
        (status = 400, description = "`request.query_invalid` or `request.path_invalid`.",
         body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn of_customer(
    State(app): State<App>,
    Path(customer): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<StrictJson<Page<OrderView>>, Problem> {
    let customer = CustomerId::parse(&customer).map_err(|wrong| {
        Problem::of(kinds::PATH_INVALID).detail(format!("a customer id {wrong}"))
    })?;
    page(&app, query, Some(customer.as_str().to_owned()))
        .await
        .map(StrictJson)
}

/// Show an order.
#[utoipa::path(
    get, path = "/v1/orders/{order_id}", tag = "orders",
    params(
        ("order_id" = Uuid, Path, description = "The order."),
        ("If-None-Match" = Option<String>, Header, description = "An `ETag` seen before: 304 while nothing has changed."),
    ),
    responses(
        (status = 200, description = "The order as it stands.", body = OrderView,
         headers(("ETag" = String, description = "Changes with every step of the order."))),
        (status = 304, description = "Nothing has changed."),
        (status = 404, description = "`order.not_found`", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(app): State<App>,
    Path(order): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let row = read::find(&app.pool, order)
        .await?
        .ok_or_else(|| not_found(order))?;
    let tag = etag(row.version);
    let unchanged = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|seen| matches(seen, &tag));
    if unchanged {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    Ok(current(&app, row))
}

/// An order as it stands, with its `ETag`.
pub(super) fn current(app: &App, row: OrderRow) -> Response {
    let tag = [(header::ETAG, etag(row.version))];
    (tag, StrictJson(OrderView::of(row, app.saga_timeout))).into_response()
}

/// The tag of a version.
pub(super) fn etag(version: i64) -> HeaderValue {
    // Digits in quotes are always a header value.
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// Weak comparison, as RFC 9110 (section 13.1.2) asks for with `If-None-Match`.
fn matches(seen: &HeaderValue, tag: &HeaderValue) -> bool {
    let (Ok(seen), Ok(tag)) = (seen.to_str(), tag.to_str()) else {
        return false;
    };
    seen.split(',')
        .map(str::trim)
        .any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}

async fn page(
    app: &App,
    query: ListQuery,
    customer: Option<String>,
) -> Result<Page<OrderView>, Problem> {
    let mut wrong = Vec::new();
    let status = named(
        &query.status,
        "status",
        Status::parse,
        Status::ALL.iter().map(|each| each.as_str()),
    )
    .unwrap_or_else(|error| {
        wrong.push(error);
        None
    });
    let verdict = named(
        &query.verdict,
        "verdict",
        Verdict::parse,
        Verdict::ALL.iter().map(|each| each.as_str()),
    )
    .unwrap_or_else(|error| {
        wrong.push(error);
        None
    });
    if !wrong.is_empty() {
        let problem = Problem::of(kinds::QUERY_INVALID).detail("a filter has an unknown value");
        return Err(wrong.into_iter().fold(problem, Problem::error));
    }
    let filter = Filter {
        customer,
        status,
        verdict,
    };
    let before = query.cursor.map(|cursor| cursor.0);
    let rows = read::list(&app.pool, &filter, before, query.limit.and_one()).await?;
    let page = Page::of(rows, query.limit, |last| last.order_id);
    Ok(page.map(|row| OrderView::of(row, app.saga_timeout)))
}

/// A filter's value, or what it could have been.
fn named<T>(
    value: &Option<String>,
    name: &'static str,
    parse: fn(&str) -> Option<T>,
    known: impl Iterator<Item = &'static str>,
) -> Result<Option<T>, FieldError> {
    let Some(text) = value else {
        return Ok(None);
    };
    parse(text).map(Some).ok_or_else(|| {
        let known = known.collect::<Vec<_>>().join(", ");
        FieldError::parameter(name, format!("{text:?} is none of {known}"))
    })
}
