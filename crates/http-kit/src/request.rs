//! The id of the request in hand.

use axum::http::{HeaderMap, HeaderName};
use uuid::Uuid;

/// Header that carries a request's id, in both directions.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Header that carries the correlation id, in both directions.
pub const CORRELATION_ID: HeaderName = HeaderName::from_static("oncebox-correlation-id");
const COMMON_CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");

/// Longer ids are no ids; they would travel in every event's headers and every log line.
const LONGEST_ID: usize = 128;

tokio::task_local! {
    pub(crate) static ID: String;
}

/// The id of the request that this task answers, if it answers one.
#[must_use]
pub fn id() -> Option<String> {
    ID.try_with(Clone::clone).ok()
}

/// The caller's request id, or a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> String {
    usable(headers, &REQUEST_ID).unwrap_or_else(|| Uuid::now_v7().to_string())
}

/// The caller's correlation id, if it sent one.
pub(crate) fn correlation_id(headers: &HeaderMap) -> Option<String> {
    usable(headers, &CORRELATION_ID).or_else(|| usable(headers, &COMMON_CORRELATION_ID))
}

/// Visible ASCII of a sensible length; anything else is ignored rather than repeated into logs and headers.
fn usable(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    let fits = (1..=LONGEST_ID).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| value.to_owned())
}
