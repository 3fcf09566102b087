//! An answer that can be kept and given again, byte for byte.

use axum::{
    body::Bytes,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::Problem;

const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A response as it is stored: status, the headers that matter, body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    pub(super) replayed: bool,
}

impl Answer {
    /// An answer in JSON.
    ///
    /// # Errors
    /// 500 when `body` cannot be expressed as JSON.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_vec(body).map_err(Problem::internal)?;
        let content_type = (
            header::CONTENT_TYPE.to_string(),
            "application/json".to_owned(),
        );
        Ok(Self {
            status,
            headers: vec![content_type],
            body: body.into(),
            replayed: false,
        })
    }

    /// Adds a header. One that HTTP does not allow is left out when the answer is given.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Whether this is a first answer given again.
    #[must_use]
    pub fn is_replayed(&self) -> bool {
        self.replayed
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = self.body.into_response();
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.clear();
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::try_from(value))
            {
                headers.append(name, value);
            }
        }
        if self.replayed {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}
