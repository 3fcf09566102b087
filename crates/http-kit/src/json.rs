//! Request bodies in JSON, refused with a reason and a place when they are not what was asked for.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, error::Category};

use crate::{FieldError, Problem, kinds, pointer};

/// A JSON body, in and out.
///
/// As an extractor: 415 unless declared as JSON, 413 over the body limit, 400 for broken syntax, 422 with JSON pointers
/// for JSON of another shape; each as a problem. `T` derives `Deserialize` with `deny_unknown_fields`; then every unknown
/// field is reported, not the first alone. As a response: status 200.
#[derive(Clone, Copy, Debug)]
pub struct StrictJson<T>(pub T);

/// What a request asks for beyond its shape.
pub trait Validate {
    /// Everything that is wrong; empty when all is well.
    fn validate(&self) -> Vec<FieldError>;
}

/// A [`StrictJson`] body that is valid, too: unknown fields and what [`Validate`] finds are reported together.
#[derive(Clone, Copy, Debug)]
pub struct ValidJson<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for StrictJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (value, errors) = parse(&body(request, state).await?)?;
        if errors.is_empty() {
            Ok(Self(value))
        } else {
            Err(Problem::validation(errors))
        }
    }
}

impl<T: DeserializeOwned + Validate, S: Send + Sync> FromRequest<S> for ValidJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (value, mut errors) = parse::<T>(&body(request, state).await?)?;
        errors.extend(value.validate());
        if errors.is_empty() {
            Ok(Self(value))
        } else {
            Err(Problem::validation(errors))
        }
    }
}

impl<T: Serialize> IntoResponse for StrictJson<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    if !declared_as_json(request.headers()) {
        let found = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let found = found.map_or_else(
            || "no content-type was given".into(),
            |found| format!("content-type is {found}"),
        );
        return Err(Problem::of(kinds::UNSUPPORTED_MEDIA_TYPE).detail(found));
    }
    Bytes::from_request(request, state)
        .await
        .map_err(unreadable)
}

fn unreadable(rejection: BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::of(kinds::BODY_TOO_LARGE)
    } else {
        Problem::of(kinds::BODY_UNREADABLE).detail(rejection.body_text())
    }
}

/// `application/json` or `application/<anything>+json`, with any parameters.
fn declared_as_json(headers: &HeaderMap) -> bool {
    let declared = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = declared
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence
        .strip_prefix("application/")
        .is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

/// The body as `T`, and what had to be left out of it to get there: its unknown fields.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<(T, Vec<FieldError>), Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let direct = serde_path_to_error::deserialize(&mut deserializer);
    let first = match direct {
        Ok(value) => {
            return deserializer
                .end()
                .map(|()| (value, Vec::new()))
                .map_err(|error| syntax(&error));
        }
        Err(error) => error,
    };
    let error = first.inner();
    if error.classify() != Category::Data {
        return Err(syntax(error));
    }
    // The shape is wrong: look again, slowly, so that all unknown fields are found. Text after the value is still a
    // syntax error, and so is anything that only the slow look meets.
    let mut tree: Value = serde_json::from_slice(body).map_err(|error| syntax(&error))?;
    let mut errors = Vec::new();
    loop {
        let error = match serde_path_to_error::deserialize::<_, T>(&tree) {
            Ok(value) => return Ok((value, errors)),
            Err(error) => error,
        };
        let pointer = pointer::of(error.path());
        let reason = error.into_inner().to_string();
        let unknown = reason.starts_with("unknown field `");
        errors.push(FieldError::at(pointer.clone(), plain(&reason)));
        if !(unknown && pointer::remove(&mut tree, &pointer)) {
            return Err(Problem::validation(errors));
        }
    }
}

fn syntax(error: &serde_json::Error) -> Problem {
    Problem::of(kinds::JSON_SYNTAX).detail(error.to_string())
}

/// Serde's sentence without its position, which means nothing in a parsed tree.
fn plain(reason: &str) -> String {
    reason
        .split(" at line ")
        .next()
        .unwrap_or(reason)
        .to_owned()
}
