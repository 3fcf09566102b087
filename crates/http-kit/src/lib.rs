//! HTTP conventions, once: problems, idempotency keys, pagination, auth, health, OpenAPI, graceful shutdown.

mod auth;
mod extract;
pub mod idempotency;
mod json;
mod kind;
mod page;
mod pointer;
mod prefer;
mod problem;
pub mod request;
pub mod server;
pub mod shutdown;

pub use auth::{BearerAuth, Guarded};
pub use axum::http::StatusCode;
pub use extract::{Path, Query};
pub use idempotency::IdempotencyKey;
pub use json::{StrictJson, ValidJson, Validate};
pub use kind::{Kind, kinds};
pub use page::{Cursor, InvalidCursor, Limit, Page};
pub use prefer::{PreferWait, Wait};
pub use problem::{FieldError, MEDIA_TYPE, Problem, ProblemBody};
pub use server::{Server, ServerError, error_page};
