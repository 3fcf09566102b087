//! Where in a topic to begin or to stop: what people write in `from=` and `to=`.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Duration, Utc};

/// A place in a topic, not yet resolved to offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The oldest record that is still there.
    Earliest,
    /// The end. Browsing from the end shows the newest records.
    Latest,
    /// An offset, which only means something within one partition.
    Offset(i64),
    /// The first record at or after this instant.
    Time(DateTime<Utc>),
    /// The first record of the last so many seconds.
    Ago(Duration),
}

/// Text that names no place in a topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no position: write earliest, latest, an offset, an instant such as 2026-01-31T08:00:00Z, or an age such as -15m (s, m, h, d)"
)]
pub struct NotAPosition {
    /// What was written.
    pub text: String,
}

impl Position {
    /// The instant that this means, seen from `now`, where it means one.
    pub fn instant(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Time(at) => Some(at),
            Self::Ago(age) => now.checked_sub_signed(age),
            Self::Earliest | Self::Latest | Self::Offset(_) => None,
        }
    }
}

impl FromStr for Position {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        let wrong = || NotAPosition {
            text: text.to_owned(),
        };
        match text {
            "earliest" => return Ok(Self::Earliest),
            "latest" => return Ok(Self::Latest),
            _ => {}
        }
        if let Some(age) = text.strip_prefix('-') {
            return parse_age(age).map(Self::Ago).ok_or_else(wrong);
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Self::Offset).map_err(|_| wrong());
        }
        DateTime::parse_from_rfc3339(text)
            .map(|at| Self::Time(at.with_timezone(&Utc)))
            .map_err(|_| wrong())
    }
}

fn parse_age(age: &str) -> Option<Duration> {
    let unit = age.chars().last()?;
    let count: i64 = age
        .strip_suffix(unit)?
        .parse()
        .ok()
        .filter(|count| *count >= 0)?;
    match unit {
        's' => Duration::try_seconds(count),
        'm' => Duration::try_minutes(count),
        'h' => Duration::try_hours(count),
        'd' => Duration::try_days(count),
        _ => None,
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::Offset(offset) => write!(f, "{offset}"),
            Self::Time(at) => write!(f, "{}", at.to_rfc3339()),
            Self::Ago(age) => write!(f, "-{}s", age.num_seconds()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_understood() {
        let cases = [
            ("earliest", Position::Earliest),
            ("latest", Position::Latest),
            ("0", Position::Offset(0)),
            ("9007199254740993", Position::Offset(9_007_199_254_740_993)),
            ("-90s", Position::Ago(Duration::seconds(90))),
            ("-2d", Position::Ago(Duration::days(2))),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Position>().unwrap(), expected, "{text}");
        }
        let at: Position = "2026-01-31T08:00:00+02:00".parse().unwrap();
        assert_eq!(
            at.instant(Utc::now()).unwrap().to_rfc3339(),
            "2026-01-31T06:00:00+00:00"
        );
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        for text in [
            "",
            "yesterday",
            "-",
            "-5",
            "-5w",
            "--5m",
            "-5é",
            "99999999999999999999",
            "2026-01-31",
            "-9999999999999999999d",
        ] {
            assert_eq!(text.parse::<Position>().unwrap_err().text, text);
        }
    }

    #[test]
    fn an_age_counts_back_from_now() {
        let now = Utc::now();
        assert_eq!(
            "-1h".parse::<Position>().unwrap().instant(now),
            Some(now - Duration::hours(1))
        );
    }
}
