//! The pages that a problem's `type` points to: what happened, why, what to do.

use std::fmt::Write;

use axum::{
    Router,
    http::{HeaderMap, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};

use crate::{Path, Problem, kinds};

include!(concat!(env!("OUT_DIR"), "/error_pages.rs"));

/// The page of an error code, as Markdown, if there is one. Every code that a service uses has one: test it.
#[must_use]
pub fn page(code: &str) -> Option<&'static str> {
    PAGES
        .binary_search_by_key(&code, |(code, _)| code)
        .ok()
        .and_then(|at| PAGES.get(at))
        .map(|(_, page)| *page)
}

pub(super) fn routes() -> Router {
    Router::new()
        .route("/errors", get(index))
        .route("/errors/{code}", get(one))
}

async fn one(Path(code): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let page = page(&code).ok_or_else(|| {
        Problem::of(kinds::NOT_FOUND).detail(format!(
            "there is no error code {code:?}; /errors lists them"
        ))
    })?;
    Ok(if wants_html(&headers) {
        html(&code, &escape(page))
    } else {
        markdown(page.to_owned())
    })
}

async fn index(headers: HeaderMap) -> Response {
    let as_html = wants_html(&headers);
    let mut list = String::new();
    for (code, _) in PAGES {
        // Codes are file names of this repository; writing to a string cannot fail.
        let _ = if as_html {
            writeln!(list, "<a href=\"/errors/{code}\">{code}</a>")
        } else {
            writeln!(list, "- [{code}](/errors/{code})")
        };
    }
    if as_html {
        html("error codes", &list)
    } else {
        markdown(format!("# Error codes\n\n{list}"))
    }
}

fn wants_html(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

fn markdown(text: String) -> Response {
    (
        [(header::CONTENT_TYPE, "text/markdown; charset=utf-8")],
        text,
    )
        .into_response()
}

/// The Markdown as it is written: short pages, made to be read as text.
fn html(title: &str, body: &str) -> Response {
    Html(format!(
        "<!doctype html><meta charset=\"utf-8\"><title>{title}</title>\
         <pre style=\"white-space: pre-wrap; max-width: 80ch; margin: 2rem auto; font: 1rem/1.5 ui-monospace, monospace\">{body}</pre>"
    ))
    .into_response()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
