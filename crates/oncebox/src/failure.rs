//! What a handler says when it fails: how the failure is to be treated, by a stable code, for a person to read.

use std::any::Any;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// What a failure means for the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// May pass: tried again, each try counted, dead-lettered after the last. What is unknown is transient.
    Transient,
    /// Trying again cannot help: dead-lettered at once.
    Permanent,
    /// The record cannot be understood: dead-lettered at once, byte for byte.
    Poison,
    /// Something that every record needs is away: the partition waits and nothing is counted (guarantee G8).
    Outage,
}

impl ErrorClass {
    /// The word for it in headers, tables and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::Poison => "poison",
            Self::Outage => "outage",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error type that knows how its cases are to be treated. Implement it for a handler's own error, and `?` does the rest.
pub trait Classify: std::error::Error {
    /// How this case is to be treated.
    fn class(&self) -> ErrorClass;
    /// Stable dotted code, for example `payment.merchant_account_missing`: what operators group failures by.
    fn code(&self) -> &'static str;
}

/// A classified failure, with the place where `?` or [`Failure::new`] made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How it is to be treated.
    pub class: ErrorClass,
    /// Stable code.
    pub code: &'static str,
    /// The error and its causes, for people.
    pub message: String,
    /// Source file and line.
    pub site: String,
}

impl Failure {
    /// A failure that has no error type of its own.
    #[track_caller]
    pub fn new(class: ErrorClass, code: &'static str, message: impl Into<String>) -> Self {
        let site = Location::caller();
        Self {
            class,
            code,
            message: message.into(),
            site: format!("{}:{}", site.file(), site.line()),
        }
    }

    /// A handler that panicked: transient, because the process goes on and the next attempt may pass.
    #[track_caller]
    pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let message = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let message = format!("the handler panicked: {message}");
        Self::new(ErrorClass::Transient, "handler.panicked", message)
    }

    /// A handler that was cut because it took too long.
    #[track_caller]
    pub(crate) fn timed_out(limit: Duration) -> Self {
        let message = format!("the handler was cut after {} ms", limit.as_millis());
        Self::new(ErrorClass::Transient, "handler.timed_out", message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.message, self.code, self.class)
    }
}

impl<E: Classify> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let text = inner.to_string();
            // Many errors repeat their cause in their own text.
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = inner.source();
        }
        Self::new(error.class(), error.code(), message)
    }
}

impl Classify for sqlx::Error {
    fn class(&self) -> ErrorClass {
        match self {
            // Protocol: what an answer looks like whose second half was cut off with the connection.
            Self::Io(_)
            | Self::Tls(_)
            | Self::Protocol(_)
            | Self::BeginFailed
            | Self::PoolTimedOut
            | Self::PoolClosed
            | Self::WorkerCrashed => ErrorClass::Outage,
            Self::Database(error) => match error.code().as_deref() {
                Some(state) if hits_everybody(state) => ErrorClass::Outage,
                _ => ErrorClass::Transient,
            },
            _ => ErrorClass::Transient,
        }
    }

    fn code(&self) -> &'static str {
        match self.class() {
            ErrorClass::Outage => "database.away",
            _ => "database.error",
        }
    }
}

/// SQLSTATEs by which the server says that it cannot serve anybody now (PostgreSQL documentation, appendix A).
fn hits_everybody(state: &str) -> bool {
    // 08: connection; 53: out of disk, memory or connections; 57P: shutting down or starting; 25006: read-only,
    // as a server is right after a failover.
    state.starts_with("08")
        || state.starts_with("53")
        || state.starts_with("57P")
        || state == "25006"
}

impl Classify for crate::outbox::OutboxError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Database(error) => error.class(),
            Self::Codec(crate::CodecError::SchemaId { source, .. }) if source.is_outage() => {
                ErrorClass::Outage
            }
            // The same event is as large at the next try.
            _ => ErrorClass::Permanent,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Database(error) => Classify::code(error),
            other => other.code(),
        }
    }
}

impl Classify for crate::DecodeError {
    fn class(&self) -> ErrorClass {
        if self.is_outage() {
            ErrorClass::Outage
        } else {
            ErrorClass::Poison
        }
    }

    fn code(&self) -> &'static str {
        crate::DecodeError::code(self)
    }
}

/// Why a batch failed. Whatever it did in the transaction is rolled back either way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchFailure {
    /// Which record is to blame is not known: the batch is taken apart.
    Whole(Failure),
    /// These records, by their index in the batch, are to blame, each in its own way; the others go through in one
    /// further transaction, unless [`stops_at_failure`](crate::BatchHandler::stops_at_failure).
    Records(Vec<(usize, Failure)>),
}

impl<E: Into<Failure>> From<E> for BatchFailure {
    #[track_caller]
    fn from(error: E) -> Self {
        Self::Whole(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_hits_everybody_is_an_outage() {
        for state in ["08006", "53300", "53100", "57P01", "57P03", "25006"] {
            assert!(hits_everybody(state), "{state}");
        }
        for state in ["23505", "40P01", "57014", "42P01", "22P02"] {
            assert!(!hits_everybody(state), "{state}");
        }
        let cut = sqlx::Error::Protocol("half an answer".into());
        assert_eq!(cut.class(), ErrorClass::Outage);
        assert_eq!(sqlx::Error::RowNotFound.class(), ErrorClass::Transient);
    }

    #[test]
    fn a_failure_knows_where_it_was_made() {
        fn fails() -> Result<(), Failure> {
            Err(sqlx::Error::PoolTimedOut)?;
            Ok(())
        }
        let failure = fails().unwrap_err();
        assert_eq!(
            (failure.class, failure.code),
            (ErrorClass::Outage, "database.away")
        );
        assert!(failure.site.contains("failure.rs:"), "{}", failure.site);
    }
}
