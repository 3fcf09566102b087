//! Errors as RFC 9457 problem details.

use std::collections::BTreeMap;

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{Kind, kinds, request};

mod database;

/// The media type of every problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the request body: `/lines/0/quantity`; empty for the whole body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Name of the query or path parameter, when it is not the body that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// What is wrong, and what would be right.
    pub detail: String,
}

impl FieldError {
    /// Something is wrong at a place of the body.
    pub fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: Some(pointer.into()),
            parameter: None,
            detail: detail.into(),
        }
    }

    /// Something is wrong with a parameter.
    pub fn parameter(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: None,
            parameter: Some(name.into()),
            detail: detail.into(),
        }
    }
}

/// An error answer: RFC 9457 problem details, `application/problem+json`.
///
/// `type` is `/errors/<code>`, a page that this service serves itself. The request's id is added as `request_id`.
/// Handlers return `Result<_, Problem>`; database errors become problems by `?`, without their details.
#[derive(Clone, Debug)]
pub struct Problem(Box<Details>);

/// Boxed in a [`Problem`], so that the happy side of a `Result` stays small.
#[derive(Clone, Debug, Serialize)]
struct Details {
    #[serde(rename = "type")]
    type_uri: String,
    title: &'static str,
    #[serde(serialize_with = "status_number")]
    status: StatusCode,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    #[serde(flatten)]
    extensions: BTreeMap<&'static str, Value>,
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of the given kind.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        Self(Box::new(Details {
            type_uri: format!("/errors/{}", kind.code),
            title: kind.title,
            status: kind.status,
            code: kind.code,
            detail: None,
            errors: Vec::new(),
            extensions: BTreeMap::new(),
            headers: Vec::new(),
        }))
    }

    /// A problem of a kind that is declared on the spot.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, title: &'static str) -> Self {
        Self::of(Kind::new(status, code, title))
    }

    /// 422 `request.invalid` with everything that is wrong, at once.
    #[must_use]
    pub fn validation(errors: Vec<FieldError>) -> Self {
        let wrong = errors.len();
        let detail = if wrong == 1 {
            "1 field is wrong".to_owned()
        } else {
            format!("{wrong} fields are wrong")
        };
        let mut problem = Self::of(kinds::INVALID).detail(detail);
        problem.0.errors = errors;
        problem
    }

    /// 500 `internal.error`. The client learns nothing but the request's id; `error` is logged here, once.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "request failed");
        Self::of(kinds::INTERNAL)
    }

    /// What happened this time. Shown to the client: no secrets, no internals.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds one field error.
    #[must_use]
    pub fn error(mut self, error: FieldError) -> Self {
        self.0.errors.push(error);
        self
    }

    /// Adds an extension member. A value that JSON cannot express is left out.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Serialize) -> Self {
        if let Ok(value) = serde_json::to_value(value) {
            self.0.extensions.insert(name, value);
        }
        self
    }

    /// Adds a response header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Tells the client to come back in so many seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        self.header(header::RETRY_AFTER, seconds.into())
    }

    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// What is wrong with the request's fields.
    #[must_use]
    pub fn errors(&self) -> &[FieldError] {
        &self.0.errors
    }
}

fn status_number<S: serde::Serializer>(
    status: &StatusCode,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        if let Some(id) = request::id() {
            self.0.extensions.insert("request_id", id.into());
        }
        // Strings and numbers under string keys: there is nothing in it that could fail to serialise.
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))];
        let mut response = (self.0.status, content_type, body).into_response();
        response.headers_mut().extend(self.0.headers);
        response
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}: {}",
            self.0.code,
            self.0.detail.as_deref().unwrap_or(self.0.title)
        )
    }
}

impl std::error::Error for Problem {}

/// An error that nobody gave a better answer: 500, or what its database cause asks for. Logged here, once.
impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<sqlx::Error>() {
            Ok(error) => error.into(),
            Err(error) => Self::internal(format!("{error:#}")),
        }
    }
}

/// The shape of a problem, for OpenAPI documents:
/// `(status = 404, body = ProblemBody, content_type = "application/problem+json")`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "/errors/request.invalid", "title": "the request is not valid", "status": 422, "code": "request.invalid",
    "detail": "1 field is wrong", "errors": [{"pointer": "/lines/0/quantity", "detail": "must be at least 1"}],
    "request_id": "0198c0de-0000-7000-8000-000000000000"
}))]
pub struct ProblemBody {
    /// `/errors/<code>`: a page that explains this kind of problem.
    #[serde(rename = "type")]
    pub type_uri: String,
    /// Short summary of the kind.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// Stable dotted code; programs decide by it.
    pub code: String,
    /// What happened this time.
    pub detail: Option<String>,
    /// What is wrong with the request, all of it.
    pub errors: Option<Vec<FieldError>>,
    /// Id of the request, also in its log lines.
    pub request_id: Option<String>,
}
