//! Stock of products: begin to keep it, list it, look at it, change it.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_kit::{
    Cursor, FieldError, Limit, Page, Path, Problem, ProblemBody, Query, StrictJson, ValidJson,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::precondition::{Expected, etag};
use super::problems::{level_impossible, product_exists, product_not_found, version_required};
use super::views::{NewStock, StockChange, StockView};
use crate::domain::{Level, LevelError, Product};
use crate::store::stock::{self, StockRow};

/// Begin to keep stock of a product.
#[utoipa::path(
    post, path = "/v1/inventory", tag = "inventory", request_body = NewStock,
    responses(
        (status = 201, description = "Stock is kept from now on.", body = StockView,
         headers(("Location" = String, description = "Where the stock is found."),
                 ("ETag" = String, description = "The version, for `If-Match`."))),
        (status = 409, description = "`inventory.product_exists`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`request.invalid`: every wrong field, with its pointer.",
         body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(app): State<App>,
    ValidJson(new): ValidJson<NewStock>,
) -> Result<Response, Problem> {
    let invalid =
        |pointer, wrong: String| Problem::validation(vec![FieldError::at(pointer, wrong)]);
    let product = Product::parse(new.product).map_err(|e| invalid("/product", e.to_string()))?;
    let level = Level::new(new.on_hand, 0).map_err(|e| invalid("/on_hand", e.to_string()))?;
    let row = stock::create(&app.pool, &product, &new.name, level).await?;
    let row = row.ok_or_else(|| product_exists(&product))?;
    let location = [(header::LOCATION, location(&product))];
    Ok((StatusCode::CREATED, location, current(row)).into_response())
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Products on a page, 1 to 100; 20 unless given.
    #[serde(default)]
    limit: Limit,
    /// The `next` of the page before.
    cursor: Option<Cursor<String>>,
}

/// List the stock of all products, sorted by product.
#[utoipa::path(
    get, path = "/v1/inventory", tag = "inventory", params(ListQuery),
    responses(
        (status = 200, description = "A page of stock; `next` is absent on the last one.", body = Page<StockView>),
        (status = 400, description = "`request.query_invalid`: a parameter is unknown or wrong.",
         body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(app): State<App>,
    Query(query): Query<ListQuery>,
) -> Result<StrictJson<Page<StockView>>, Problem> {
    let after = query.cursor.as_ref().map(|cursor| cursor.0.as_str());
    let rows = stock::page(&app.pool, after, query.limit.and_one()).await?;
    let page = Page::of(rows, query.limit, |last| last.product.clone());
    Ok(StrictJson(page.map(StockView::from)))
}

/// Show the stock of a product.
#[utoipa::path(
    get, path = "/v1/inventory/{product}", tag = "inventory",
    params(("product" = String, Path, description = "The product's name in orders.", example = "tea-green-100")),
    responses(
        (status = 200, description = "The stock.", body = StockView,
         headers(("ETag" = String, description = "The version, for `If-Match`."))),
        (status = 404, description = "`inventory.product_not_found`", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(app): State<App>,
    Path(product): Path<String>,
) -> Result<Response, Problem> {
    let product = in_path(product)?;
    let row = stock::find(&app.pool, product.as_str()).await?;
    Ok(current(
        row.ok_or_else(|| product_not_found(product.as_str()))?,
    ))
}

/// Change the stock of a product.
///
/// `delta` adds to what is on hand and needs no version: it is right whatever happened meanwhile. It is not
/// idempotent: send `If-Match` with it when the request may be repeated. `on_hand` replaces what is on hand by a count,
/// so it must say which version was counted.
#[utoipa::path(
    patch, path = "/v1/inventory/{product}", tag = "inventory", request_body = StockChange,
    params(
        ("product" = String, Path, description = "The product's name in orders.", example = "tea-green-100"),
        ("If-Match" = Option<String>, Header, description = "An `ETag` seen before: the change is made to that version or not at all."),
    ),
    responses(
        (status = 200, description = "The stock after the change.", body = StockView,
         headers(("ETag" = String, description = "The new version."))),
        (status = 404, description = "`inventory.product_not_found`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`inventory.level_impossible`: below zero, or below what is held for orders.",
         body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, description = "`inventory.version_conflict`: the stock is at another version.",
         body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "`request.invalid`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, description = "`inventory.version_required`: a count without a version.",
         body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn change(
    State(app): State<App>,
    Path(product): Path<String>,
    headers: HeaderMap,
    ValidJson(change): ValidJson<StockChange>,
) -> Result<Response, Problem> {
    let product = in_path(product)?;
    let product = product.as_str();
    let expected = Expected::of(&headers, change.version);
    if change.on_hand.is_some() && expected == Expected::Unsaid {
        return Err(version_required(product));
    }

    let mut tx = app.pool.begin().await?;
    let row = stock::lock(&mut tx, product).await?;
    let row = row.ok_or_else(|| product_not_found(product))?;
    expected.check(product, row.version)?;
    let level = moved(row.level()?, &change).map_err(|error| level_impossible(&row, error))?;
    let name = change.name.as_deref().unwrap_or(&row.name);
    let row = stock::update(&mut tx, product, name, level).await?;
    tx.commit().await?;
    Ok(current(row))
}

/// The level after the change.
fn moved(level: Level, change: &StockChange) -> Result<Level, LevelError> {
    match (change.delta, change.on_hand) {
        (Some(delta), _) => level.adjust(delta),
        (None, Some(on_hand)) => level.set_on_hand(on_hand),
        (None, None) => Ok(level),
    }
}

/// A product that is named by a path; what cannot be a name is not found.
fn in_path(text: String) -> Result<Product, Problem> {
    Product::parse(text.as_str()).map_err(|_| product_not_found(&text))
}

fn current(row: StockRow) -> Response {
    let tag = [(header::ETAG, etag(row.version))];
    (tag, StrictJson(StockView::from(row))).into_response()
}

/// The path of a product's stock: whatever is not unreserved in RFC 3986 is percent-encoded.
fn location(product: &Product) -> HeaderValue {
    let mut path = String::from("/v1/inventory/");
    for byte in product.as_str().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                path.push(char::from(byte));
            }
            other => path.push_str(&format!("%{other:02X}")),
        }
    }
    HeaderValue::from_str(&path).unwrap_or(HeaderValue::from_static("/v1/inventory"))
}
