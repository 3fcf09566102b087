//! The `Idempotency-Key` header.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, request::Parts},
};

use crate::{Problem, kinds};

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
const LONGEST: usize = 255;

/// The client's key: 1 to 255 visible ASCII characters.
///
/// Written as a structured-field string (`"8e03978e-…"`, quotation marks and backslashes escaped) as the draft has it,
/// or bare, as most clients send it; both forms of one key are the same key. As an extractor: 400
/// `idempotency.key_missing` or `idempotency.key_invalid`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Reads the key from a request's headers.
    ///
    /// # Errors
    /// 400 problems: the header is missing, repeated, or has the wrong form.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut values = headers.get_all(HEADER).iter();
        let value = values.next().ok_or_else(|| {
            Problem::of(kinds::KEY_MISSING).detail("send a new unique key, such as a UUID, with each new request, and the same one when repeating it")
        })?;
        if values.next().is_some() {
            return Err(invalid("it was sent more than once"));
        }
        let text = value
            .to_str()
            .map_err(|_| invalid("it has characters other than visible ASCII"))?
            .trim();
        let key = if text.starts_with('"') {
            unquote(text)?
        } else {
            text.to_owned()
        };
        if !(1..=LONGEST).contains(&key.len()) {
            return Err(invalid(&format!(
                "it has {} characters; 1 to {LONGEST} are allowed",
                key.len()
            )));
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(invalid("it has characters other than visible ASCII"));
        }
        Ok(Self(key))
    }

    /// The key itself, unquoted.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn invalid(reason: &str) -> Problem {
    Problem::of(kinds::KEY_INVALID).detail(reason)
}

/// A structured-field string: RFC 9651, section 4.2.5.
fn unquote(text: &str) -> Result<String, Problem> {
    let broken = || invalid("it begins with a quotation mark, but is no quoted string");
    let inner = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .ok_or_else(broken)?;
    let mut key = String::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(next) = rest.next() {
        key.push(match next {
            '\\' => rest
                .next()
                .filter(|escaped| matches!(escaped, '"' | '\\'))
                .ok_or_else(broken)?,
            '"' => return Err(broken()),
            other => other,
        });
    }
    Ok(key)
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::from_headers(&parts.headers)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read(values: &[&str]) -> Result<String, &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        IdempotencyKey::from_headers(&headers)
            .map(|key| key.0)
            .map_err(|problem| problem.code())
    }

    #[test]
    fn bare_and_quoted_keys_are_the_same_key() {
        assert_eq!(read(&["order-42"]).as_deref(), Ok("order-42"));
        assert_eq!(read(&["\"order-42\""]).as_deref(), Ok("order-42"));
        assert_eq!(read(&[r#""a\"b\\c""#]).as_deref(), Ok(r#"a"b\c"#));
        assert_eq!(
            read(&["k".repeat(255).as_str()]).map(|key| key.len()),
            Ok(255)
        );
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert_eq!(read(&[]), Err("idempotency.key_missing"));
        let long = "k".repeat(256);
        for wrong in [
            "", "   ", "\"\"", "\"", "\"a", "\"a\"b\"", "\"a\\x\"", "\"a\\\"", "a b", "naïve",
            &long,
        ] {
            assert_eq!(read(&[wrong]), Err("idempotency.key_invalid"), "{wrong}");
        }
        assert_eq!(
            read(&["a", "b"]),
            Err("idempotency.key_invalid"),
            "which of two keys is meant is anyone's guess"
        );
    }
}
