//! What a database error means to a client: whose fault it is, and whether to try again.
//!
//! An outage must never look like an answer. In particular it is never a 404: a client that believes an order does
//! not exist places it again.

use sqlx::Error;

use super::Problem;
use crate::{Kind, kinds};

/// Seconds until a client should come back after an outage, and after a collision.
const OUTAGE_RETRY_AFTER: u32 = 5;
const BUSY_RETRY_AFTER: u32 = 1;

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let kind = kind(&error);
        let code = kind.code;
        if kind == kinds::INTERNAL {
            tracing::error!(%error, "request failed in the database");
            return Self::of(kind);
        }
        tracing::warn!(%error, code, "request failed in the database");
        let busy = kind == kinds::DATABASE_BUSY;
        Self::of(kind).retry_after(if busy {
            BUSY_RETRY_AFTER
        } else {
            OUTAGE_RETRY_AFTER
        })
    }
}

fn kind(error: &Error) -> Kind {
    match error {
        Error::PoolTimedOut
        | Error::PoolClosed
        | Error::Io(_)
        | Error::Tls(_)
        | Error::WorkerCrashed => kinds::DATABASE_UNAVAILABLE,
        Error::Database(error) => error
            .code()
            .map_or(kinds::INTERNAL, |state| by_sqlstate(&state)),
        // RowNotFound included: a query that expected a row is our mistake; a 404 is decided by whoever asked.
        _ => kinds::INTERNAL,
    }
}

/// Source: PostgreSQL documentation, appendix A, "error codes".
fn by_sqlstate(state: &str) -> Kind {
    match state {
        // serialization_failure, deadlock_detected, lock_not_available, query_canceled (a statement's timeout)
        "40001" | "40P01" | "55P03" | "57014" => kinds::DATABASE_BUSY,
        // Connection exceptions; too many connections, out of memory or disk; shutdown, crash, starting up;
        // read-only after a failover; a login or a database that is (not yet) there.
        _ if state.starts_with("08") || state.starts_with("53") || state.starts_with("57P") => {
            kinds::DATABASE_UNAVAILABLE
        }
        "25006" | "28000" | "28P01" | "3D000" => kinds::DATABASE_UNAVAILABLE,
        _ => kinds::INTERNAL,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    #[test]
    fn an_outage_is_503_and_never_404() {
        for error in [
            Error::PoolTimedOut,
            Error::PoolClosed,
            Error::WorkerCrashed,
            Error::Io(std::io::Error::other("gone")),
        ] {
            let problem = Problem::from(error);
            assert_eq!(problem.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(
                problem
                    .0
                    .headers
                    .iter()
                    .any(|(name, _)| name == "retry-after")
            );
        }
        assert_eq!(
            Problem::from(Error::RowNotFound).status(),
            StatusCode::INTERNAL_SERVER_ERROR
        );
    }

    #[test]
    fn states_are_sorted_by_who_can_help() {
        assert_eq!(by_sqlstate("40P01"), kinds::DATABASE_BUSY);
        assert_eq!(by_sqlstate("57P03"), kinds::DATABASE_UNAVAILABLE);
        assert_eq!(by_sqlstate("08006"), kinds::DATABASE_UNAVAILABLE);
        assert_eq!(by_sqlstate("53300"), kinds::DATABASE_UNAVAILABLE);
        assert_eq!(by_sqlstate("23505"), kinds::INTERNAL);
        assert_eq!(by_sqlstate("42P01"), kinds::INTERNAL);
    }
}
