//! What the command lines share: asking a service over HTTP, telling its problems in its words, tables for people.

pub mod client;
pub mod text;

use std::process::ExitCode;

pub use client::{Client, Failure, Service};

/// How a command ended, apart from failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It did or showed something.
    Something,
    /// Nothing matched.
    Nothing,
}

/// Tells a failure on standard error. 0 is done, 1 failed, 2 wrong usage, 3 nothing matched.
pub fn exit(service: &Service, ended: Result<Done, Failure>) -> ExitCode {
    match ended {
        Ok(Done::Something) => ExitCode::SUCCESS,
        Ok(Done::Nothing) => ExitCode::from(3),
        Err(failure) => {
            eprintln!("{}", failure.told(service));
            ExitCode::from(if matches!(failure, Failure::Usage(_)) {
                2
            } else {
                1
            })
        }
    }
}
