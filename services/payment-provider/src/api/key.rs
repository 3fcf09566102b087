//! The `Idempotency-Key` header of a call.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use http_kit::{Problem, kinds};

/// 1 to 255 visible ASCII characters.
#[derive(Debug)]
pub(super) struct Key(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let header = parts
            .headers
            .get("idempotency-key")
            .ok_or_else(|| Problem::of(kinds::KEY_MISSING))?;
        let key = header.to_str().unwrap_or_default();
        if (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(key.to_owned()))
        } else {
            Err(Problem::of(kinds::KEY_INVALID)
                .detail("it must have 1 to 255 visible ASCII characters"))
        }
    }
}
