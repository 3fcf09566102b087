//! The API's description, and the page to try it on.

use axum::{Router, body::Bytes, routing::get};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

const DOCUMENT: &str = "/openapi.json";

pub(super) fn routes(mut document: OpenApi, name: &str, version: &str) -> Router {
    document.info.title = format!("Oncebox {name}");
    version.clone_into(&mut document.info.version);
    // The generated paths and schemas are plain data: there is nothing in them that could fail to serialise.
    let text = Bytes::from(document.to_json().unwrap_or_default());
    let serve = move || async move { ([("content-type", "application/json")], text) };
    let page = SwaggerUi::new("/docs").config(Config::from(DOCUMENT).try_it_out_enabled(true));
    Router::new().route(DOCUMENT, get(serve)).merge(page)
}
