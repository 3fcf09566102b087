//! `Prefer: wait=N` (RFC 7240): how long a client is willing to wait for the outcome.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, request::Parts},
};

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How many seconds the client is willing to wait, if it says so. An extractor that never refuses: a preference that
/// cannot be understood is ignored, as the RFC asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PreferWait(Option<u64>);

/// A wait that is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    seconds: u64,
}

impl PreferWait {
    /// Reads the preference from all `Prefer` headers; the first one counts when it is repeated.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let texts = headers
            .get_all(PREFER)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let mut waits = texts
            .flat_map(|text| text.split(','))
            .filter_map(|preference| {
                let (name, value) = preference.split(';').next()?.split_once('=')?;
                let value = value.trim().trim_matches('"');
                let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                // A number too large to hold is a long wait, not an invalid one.
                (name.trim().eq_ignore_ascii_case("wait") && digits)
                    .then(|| value.parse().unwrap_or(u64::MAX))
            });
        Self(waits.next())
    }

    /// The wait that is granted: what was asked for, at most `cap`. `None` when nothing or no time was asked for.
    #[must_use]
    pub fn at_most(self, cap: Duration) -> Option<Wait> {
        self.0
            .map(|seconds| seconds.min(cap.as_secs()))
            .filter(|&seconds| seconds > 0)
            .map(|seconds| Wait { seconds })
    }
}

impl Wait {
    /// How long to wait.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// The response header that says which wait was granted: `Preference-Applied: wait=N`.
    #[must_use]
    pub fn applied(self) -> (HeaderName, HeaderValue) {
        let value = HeaderValue::try_from(format!("wait={}", self.seconds));
        (
            PREFERENCE_APPLIED,
            value.unwrap_or_else(|_| HeaderValue::from_static("wait")),
        )
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PreferWait {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::from_headers(&parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(values: &[&str]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PREFER, HeaderValue::from_str(value).unwrap());
        }
        PreferWait::from_headers(&headers)
            .at_most(Duration::from_secs(20))
            .map(|wait| wait.seconds)
    }

    #[test]
    fn waits_are_found_capped_and_said() {
        assert_eq!(granted(&["wait=10"]), Some(10));
        assert_eq!(granted(&["respond-async, wait=\"5\"; foo=bar"]), Some(5));
        assert_eq!(granted(&["return=minimal", "Wait = 7"]), Some(7));
        assert_eq!(granted(&["wait=3, wait=9"]), Some(3));
        assert_eq!(granted(&["wait=3600"]), Some(20));
        assert_eq!(granted(&["wait=99999999999999999999999"]), Some(20));
        assert_eq!(Wait { seconds: 5 }.applied().1, "wait=5");
    }

    #[test]
    fn what_is_not_understood_is_ignored() {
        for other in [
            "",
            "wait",
            "wait=",
            "wait=-1",
            "wait=soon",
            "wait=1.5",
            "waiting=5",
            "wait=0",
        ] {
            assert_eq!(granted(&[other]), None, "{other}");
        }
        assert_eq!(granted(&[]), None);
    }
}
