//! `ETag` and `If-Match`: a change that was meant for another version is refused instead of made.

use axum::http::{HeaderMap, HeaderValue, header};
use http_kit::Problem;

use super::problems;

/// The tag of a version.
pub(super) fn etag(version: i64) -> HeaderValue {
    // Digits in quotes are always a header value.
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// Which versions a change is meant for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// The client did not say.
    Unsaid,
    /// `*`: whatever it is now.
    Any,
    /// One of these.
    Versions(Vec<i64>),
}

impl Expected {
    /// What `If-Match` and the body's `version` say together.
    ///
    /// Strong comparison (RFC 9110, section 13.1.1): a weak tag or a foreign one matches no version.
    pub(super) fn of(headers: &HeaderMap, version: Option<i64>) -> Self {
        let mut tags = Vec::new();
        for value in headers.get_all(header::IF_MATCH) {
            tags.extend(value.to_str().unwrap_or_default().split(',').map(str::trim));
        }
        let in_header = if tags.is_empty() {
            Self::Unsaid
        } else if tags.contains(&"*") {
            Self::Any
        } else {
            let number = |tag: &str| tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok();
            Self::Versions(tags.into_iter().filter_map(number).collect())
        };
        match (in_header, version) {
            (in_header, None) => in_header,
            (Self::Unsaid | Self::Any, Some(version)) => Self::Versions(vec![version]),
            // Both have to hold.
            (Self::Versions(tags), Some(version)) => {
                Self::Versions(tags.into_iter().filter(|tag| *tag == version).collect())
            }
        }
    }

    /// Refuses the change when `current` is not what it was meant for.
    pub(super) fn check(&self, product: &str, current: i64) -> Result<(), Problem> {
        match self {
            Self::Versions(versions) if !versions.contains(&current) => {
                Err(problems::version_conflict(product, current))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(if_match: &[&str], version: Option<i64>) -> Expected {
        let mut headers = HeaderMap::new();
        for value in if_match {
            headers.append(header::IF_MATCH, value.parse().unwrap());
        }
        Expected::of(&headers, version)
    }

    #[test]
    fn header_and_body_are_read_together() {
        assert_eq!(expected(&[], None), Expected::Unsaid);
        assert_eq!(expected(&["*"], None), Expected::Any);
        assert_eq!(
            expected(&["\"3\", \"4\"", "\"5\""], None),
            Expected::Versions(vec![3, 4, 5])
        );
        assert_eq!(expected(&[], Some(3)), Expected::Versions(vec![3]));
        assert_eq!(expected(&["\"3\""], Some(4)), Expected::Versions(vec![]));
        assert_eq!(
            expected(&["W/\"3\"", "other"], None),
            Expected::Versions(vec![])
        );
        assert!(expected(&["W/\"3\""], None).check("tea", 3).is_err());
        assert!(expected(&["\"3\""], None).check("tea", 3).is_ok());
    }
}
