//! Path and query parameters, refused as problems.

use axum::{
    extract::{FromRequestParts, rejection::PathRejection},
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;

use crate::{FieldError, Problem, kinds};

/// Path parameters; 400 `request.path_invalid` when they have the wrong form.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) if rejection.status() == StatusCode::INTERNAL_SERVER_ERROR => {
                Err(Problem::internal(rejection))
            }
            Err(rejection) => Err(wrong_path(rejection)),
        }
    }
}

fn wrong_path(rejection: PathRejection) -> Problem {
    let detail = rejection.body_text();
    let detail = detail.strip_prefix("Invalid URL: ").unwrap_or(&detail);
    Problem::of(kinds::PATH_INVALID).detail(detail)
}

/// Query parameters; 400 `request.query_invalid` naming the parameter when one is unknown or has the wrong form.
///
/// `T` derives `Deserialize` with `deny_unknown_fields`, so that a mistyped filter is not silently no filter.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let pairs = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs))
            .map(Self)
            .map_err(|error| {
                let detail = error.inner().to_string();
                // A missing parameter has no place; serde names it in its sentence.
                let name = match error.path().to_string() {
                    path if path == "." => detail.split('`').nth(1).unwrap_or_default().to_owned(),
                    path => path,
                };
                Problem::of(kinds::QUERY_INVALID)
                    .detail(format!("{name}: {detail}"))
                    .error(FieldError::parameter(name, detail))
            })
    }
}
