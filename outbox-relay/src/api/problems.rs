//! Errors as problems, each with its code and a way out.

use http_kit::{Kind, Problem, StatusCode};

use crate::source::SourceError;

const SOURCE_UNKNOWN: Kind = Kind::new(
    StatusCode::NOT_FOUND,
    "relay.source_unknown",
    "no such source",
);
const PARKED_UNKNOWN: Kind = Kind::new(
    StatusCode::NOT_FOUND,
    "relay.parked_unknown",
    "no such parked row",
);
const NOT_MIGRATED: Kind = Kind::new(
    StatusCode::CONFLICT,
    "relay.not_migrated",
    "the database has no parking table",
);
const AWAY: Kind = Kind::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "relay.database_away",
    "the source's database does not answer",
);

const NOT_CHANGED: Kind = Kind::new(
    StatusCode::CONFLICT,
    "relay.not_changed",
    "the source was not changed",
);

const NO_CHANGE: Kind = Kind::new(
    StatusCode::NOT_FOUND,
    "relay.no_change",
    "no change is known",
);

const RETRY_AFTER: u32 = 2;

pub(super) fn source_unknown<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Problem {
    let known: Vec<_> = known.cloned().collect();
    Problem::of(SOURCE_UNKNOWN)
        .detail(format!(
            "this relay has no source {name:?}; it has {}",
            known.join(", ")
        ))
        .with("sources", known)
}

pub(super) fn parked_unknown(source: &str, seq: i64) -> Problem {
    Problem::of(PARKED_UNKNOWN).detail(format!(
        "no row {seq} of source {source} is parked: it was published or discarded meanwhile, or never parked"
    ))
}

pub(super) fn no_change() -> Problem {
    Problem::of(NO_CHANGE).detail("this relay was not asked to change the source since it started")
}

pub(super) fn not_changed(reason: String) -> Problem {
    Problem::of(NOT_CHANGED).detail(reason)
}

pub(super) fn of_source(error: SourceError) -> Problem {
    if error.is_absent() {
        return Problem::of(NOT_MIGRATED).detail(format!(
            "{error}: start the service's newer version, or run its migrate command"
        ));
    }
    match error {
        SourceError::Database(error @ sqlx::Error::Database(_)) => error.into(),
        error => Problem::of(AWAY)
            .detail(error.to_string())
            .retry_after(RETRY_AFTER),
    }
}
