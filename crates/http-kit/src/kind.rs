//! The kinds of problems that every service can answer with.

use axum::http::StatusCode;

/// A kind of problem: what does not change from one occurrence to the next.
///
/// A service declares its own as constants, and keeps a page `docs/errors/<code>.md` for each:
///
/// ```
/// use http_kit::{Kind, Problem, StatusCode};
///
/// const ORDER_NOT_FOUND: Kind = Kind::new(StatusCode::NOT_FOUND, "order.not_found", "no such order");
///
/// let problem = Problem::of(ORDER_NOT_FOUND).detail("order 42 does not exist");
/// assert_eq!(problem.code(), "order.not_found");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable dotted code; programs decide by it.
    pub code: &'static str,
    /// Short summary for people; the same for every occurrence.
    pub title: &'static str,
}

impl Kind {
    /// Declares a kind.
    #[must_use]
    pub const fn new(status: StatusCode, code: &'static str, title: &'static str) -> Self {
        Self {
            status,
            code,
            title,
        }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $code:literal, $title:literal;)*) => {
        $($(#[$doc])* pub const $name: Kind = Kind::new(StatusCode::$status, $code, $title);)*

        /// All kinds of this crate.
        pub const ALL: &[Kind] = &[$($name),*];
    };
}

/// The kinds of this crate.
pub mod kinds {
    use super::{Kind, StatusCode};

    kinds! {
        /// No route matches the path.
        NOT_FOUND = NOT_FOUND, "http.not_found", "nothing is found at this path";
        /// The path exists, the method does not.
        METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED, "http.method_not_allowed", "this path does not answer this method";
        /// The request was not finished in time.
        TIMEOUT = SERVICE_UNAVAILABLE, "http.timeout", "the request took too long";
        /// The body exceeds the limit.
        BODY_TOO_LARGE = PAYLOAD_TOO_LARGE, "http.body_too_large", "the request body is too large";
        /// The body broke off, or could not be read.
        BODY_UNREADABLE = BAD_REQUEST, "http.body_unreadable", "the request body could not be read";
        /// The body is not declared as JSON.
        UNSUPPORTED_MEDIA_TYPE = UNSUPPORTED_MEDIA_TYPE, "http.unsupported_media_type", "the request body must be application/json";
        /// The body is not JSON.
        JSON_SYNTAX = BAD_REQUEST, "request.json_syntax", "the request body is not valid JSON";
        /// The body is JSON, but not what is asked for here.
        INVALID = UNPROCESSABLE_ENTITY, "request.invalid", "the request is not valid";
        /// A part of the path has the wrong form.
        PATH_INVALID = BAD_REQUEST, "request.path_invalid", "a part of the path is not valid";
        /// A query parameter is unknown or has the wrong form.
        QUERY_INVALID = BAD_REQUEST, "request.query_invalid", "a query parameter is not valid";
        /// The idempotency key is missing.
        KEY_MISSING = BAD_REQUEST, "idempotency.key_missing", "the Idempotency-Key header is required";
        /// The idempotency key has the wrong form.
        KEY_INVALID = BAD_REQUEST, "idempotency.key_invalid", "the Idempotency-Key header is not valid";
        /// The idempotency key was used with another request.
        PAYLOAD_MISMATCH = UNPROCESSABLE_ENTITY, "idempotency.payload_mismatch", "this Idempotency-Key was used with another request";
        /// The first request with this idempotency key is still running.
        IN_FLIGHT = CONFLICT, "idempotency.in_flight", "a request with this Idempotency-Key is still running";
        /// No bearer token was given.
        TOKEN_MISSING = UNAUTHORIZED, "auth.token_missing", "a bearer token is required";
        /// The bearer token is wrong.
        TOKEN_INVALID = UNAUTHORIZED, "auth.token_invalid", "the bearer token is not valid";
        /// The database cannot be reached.
        DATABASE_UNAVAILABLE = SERVICE_UNAVAILABLE, "database.unavailable", "the database cannot be reached at the moment";
        /// The database gave up on a lock, a deadlock or a slow statement.
        DATABASE_BUSY = SERVICE_UNAVAILABLE, "database.busy", "the database is too busy at the moment";
        /// A mistake on our side.
        INTERNAL = INTERNAL_SERVER_ERROR, "internal.error", "something went wrong on our side";
    }
}
