//! HTTP conventions, once: problems, idempotency keys, pagination, auth, health, OpenAPI, graceful shutdown.

mod extract;
mod json;
mod kind;
mod pointer;
mod problem;
pub mod request;
pub mod server;
pub mod shutdown;

pub use axum::http::StatusCode;
pub use extract::{Path, Query};
pub use json::{StrictJson, ValidJson, Validate};
pub use kind::{Kind, kinds};
pub use problem::{FieldError, MEDIA_TYPE, Problem, ProblemBody};
pub use server::{Server, ServerError, error_page};
