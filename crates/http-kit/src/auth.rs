//! Bearer tokens (RFC 6750).

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures::future::{Either, Ready, ready};
use sha2::{Digest, Sha256};
use tower::{Layer, Service};

use crate::{Problem, kinds};

/// A layer that lets only requests with `Authorization: Bearer <token>` through; others get a 401 problem.
///
/// ```
/// # use axum::{Router, routing::get};
/// let api: Router = Router::new().route("/v1/secrets", get(|| async { "…" })).route_layer(http_kit::BearerAuth::new("s3cret"));
/// ```
/// Use `route_layer`: health, metrics and unknown paths then stay open. An empty configured token lets nobody through.
#[derive(Clone)]
pub struct BearerAuth {
    /// Digests have one length and are compared as a whole: the time taken tells nothing about the token.
    token: Option<Arc<[u8; 32]>>,
}

impl std::fmt::Debug for BearerAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BearerAuth(***)")
    }
}

impl BearerAuth {
    /// The one token that is accepted.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self {
            token: (!token.is_empty()).then(|| Arc::new(digest(token.as_bytes()))),
        }
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(given) = bearer(headers) else {
            return Err(Problem::of(kinds::TOKEN_MISSING)
                .detail("send the header Authorization: Bearer <token>")
                .header(
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static("Bearer realm=\"oncebox\""),
                ));
        };
        let given = digest(given);
        if self.token.as_ref().is_some_and(|token| same(token, &given)) {
            return Ok(());
        }
        let challenge = "Bearer realm=\"oncebox\", error=\"invalid_token\"";
        Err(Problem::of(kinds::TOKEN_INVALID).header(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static(challenge),
        ))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .as_bytes()
        .split_at_checked("Bearer ".len())?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty()).then_some(token)
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn same(left: &[u8; 32], right: &[u8; 32]) -> bool {
    left.iter()
        .zip(right)
        .fold(0, |difference, (left, right)| difference | (left ^ right))
        == 0
}

impl<S> Layer<S> for BearerAuth {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            auth: self.clone(),
            inner,
        }
    }
}

/// What [`BearerAuth`] guards.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    auth: BearerAuth,
    inner: S,
}

impl<S: Service<Request, Response = Response>> Service<Request> for Guarded<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.auth.check(request.headers()) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(problem) => Either::Right(ready(Ok(problem.into_response()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(configured: &str, header: Option<&str>) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        if let Some(value) = header {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        BearerAuth::new(configured)
            .check(&headers)
            .err()
            .map(|problem| problem.code())
    }

    #[test]
    fn the_token_and_nothing_else_opens() {
        assert_eq!(code("s3cret", Some("Bearer s3cret")), None);
        assert_eq!(
            code("s3cret", Some("bearer s3cret")),
            None,
            "the scheme's case does not matter"
        );
        for missing in [
            None,
            Some(""),
            Some("Bearer"),
            Some("Bearer "),
            Some("Basic s3cret"),
            Some("s3cret"),
        ] {
            assert_eq!(
                code("s3cret", missing),
                Some("auth.token_missing"),
                "{missing:?}"
            );
        }
        for wrong in [
            "Bearer S3cret",
            "Bearer s3cre",
            "Bearer s3crett",
            "Bearer s3cret x",
        ] {
            assert_eq!(
                code("s3cret", Some(wrong)),
                Some("auth.token_invalid"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn no_configured_token_opens_for_nobody() {
        assert_eq!(code("", Some("Bearer ")), Some("auth.token_missing"));
        assert_eq!(code("", Some("Bearer x")), Some("auth.token_invalid"));
    }
}
