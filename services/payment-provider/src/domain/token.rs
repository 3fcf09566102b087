//! Test tokens: the token that an order carries scripts how the provider treats it.

use std::time::Duration;

use super::entry::Operation;

/// What a token asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Script {
    Approve,
    Decline,
    /// Does the work of these operations, and loses the answer the first time.
    LoseAnswer(Vec<Operation>),
    /// Answers 500 this often for each operation, then works.
    Fail(u32),
    /// Takes this long for each operation, whether or not the caller still waits.
    Slow(Duration),
    /// Not a test token: declined, as a provider declines a token that it did not issue.
    Unknown,
}

impl Script {
    /// Reads a token, for example `tok_timeout_authorize_capture`, `tok_error_3` or `tok_slow_250`.
    pub fn parse(token: &str) -> Self {
        Self::known(token).unwrap_or(Self::Unknown)
    }

    fn known(token: &str) -> Option<Self> {
        let script = token.strip_prefix("tok_")?;
        let (name, argument) = script.split_once('_').unwrap_or((script, ""));
        match (name, argument) {
            ("approved", "") => Some(Self::Approve),
            ("declined", "") => Some(Self::Decline),
            ("timeout", list) => list
                .split('_')
                .map(Operation::parse)
                .collect::<Option<_>>()
                .map(Self::LoseAnswer),
            ("error", times) => times.parse().ok().map(Self::Fail),
            ("slow", ms) => ms.parse().ok().map(Duration::from_millis).map(Self::Slow),
            _ => None,
        }
    }

    pub fn failures(&self) -> u32 {
        if let Self::Fail(times) = self {
            *times
        } else {
            0
        }
    }

    pub fn delay(&self) -> Duration {
        if let Self::Slow(delay) = self {
            *delay
        } else {
            Duration::ZERO
        }
    }

    pub fn loses_answer(&self, operation: Operation) -> bool {
        matches!(self, Self::LoseAnswer(operations) if operations.contains(&operation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_script_the_outcome() {
        assert_eq!(Script::parse("tok_approved"), Script::Approve);
        assert_eq!(Script::parse("tok_declined"), Script::Decline);
        assert_eq!(Script::parse("tok_error_3").failures(), 3);
        assert_eq!(
            Script::parse("tok_slow_250").delay(),
            Duration::from_millis(250)
        );
        let lost = Script::parse("tok_timeout_authorize_capture");
        assert!(lost.loses_answer(Operation::Authorize) && lost.loses_answer(Operation::Capture));
        assert!(!lost.loses_answer(Operation::Void));
    }

    #[test]
    fn anything_else_is_unknown() {
        for token in [
            "",
            "tok_",
            "tok_timeout_",
            "tok_timeout_fly",
            "tok_error_",
            "tok_error_-1",
            "4111111111111111",
            "tok_approved_twice",
        ] {
            assert_eq!(Script::parse(token), Script::Unknown, "{token}");
        }
    }
}
