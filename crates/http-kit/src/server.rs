//! The HTTP server that every service runs: its own routes, and what all services have in common.

use std::{fmt::Display, future::Future, sync::Arc, time::Duration};

use axum::{Router, extract::DefaultBodyLimit, middleware, serve::ListenerExt};
use telemetry::Telemetry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use crate::{Problem, kinds};

mod bind;
mod docs;
mod errors;
mod health;
mod observe;

pub use bind::{Bound, ServerError};
pub use errors::page as error_page;
pub use health::{Answer as HealthAnswer, Check};

/// Larger bodies are refused with 413 unless a service says otherwise.
const BODY_LIMIT: usize = 1024 * 1024;
/// A request that takes longer is abandoned, its transaction rolled back.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long requests in hand may go on after the shutdown began.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);

/// A server in the making.
///
/// Around the service's routes it adds
/// - `/health/live` and `/health/ready` (each dependency by name; 503 when one is down or the service is stopping),
/// - `/metrics` (Prometheus text), `/openapi.json`, `/docs` (a page to try the API, without a network),
/// - `/errors` and `/errors/{code}` (the pages that a problem's `type` points to),
/// - 404, 405, panics and timeouts as problems; request id, correlation id and trace, in and out; one access log line
///   and the metrics `oncebox_http_requests_total`, `oncebox_http_request_duration_seconds` and
///   `oncebox_http_requests_in_flight` by route.
pub struct Server {
    name: &'static str,
    version: &'static str,
    telemetry: Telemetry,
    routes: OpenApiRouter,
    checks: Vec<Check>,
    body_limit: usize,
    request_timeout: Duration,
    shutdown_deadline: Duration,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("name", &self.name)
            .field("checks", &self.checks)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A server for the given routes; `name` and `version` are shown in the API's description and in health answers.
    #[must_use]
    pub fn new(
        name: &'static str,
        version: &'static str,
        telemetry: Telemetry,
        routes: OpenApiRouter,
    ) -> Self {
        Self {
            name,
            version,
            telemetry,
            routes,
            checks: Vec::new(),
            body_limit: BODY_LIMIT,
            request_timeout: REQUEST_TIMEOUT,
            shutdown_deadline: SHUTDOWN_DEADLINE,
        }
    }

    /// Adds a dependency that the service cannot work without: while `check` fails, `/health/ready` answers 503.
    ///
    /// Each look at `/health/ready` runs all checks side by side, each with 2 seconds to answer.
    #[must_use]
    pub fn check<C, F, E>(mut self, name: &'static str, check: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        self.checks.push(Check::new(name, true, check));
        self
    }

    /// Adds a dependency that the service can do without for a while: its state is shown, and it never makes the
    /// service unready.
    #[must_use]
    pub fn check_optional<C, F, E>(mut self, name: &'static str, check: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        self.checks.push(Check::new(name, false, check));
        self
    }

    /// Largest request body in bytes; 1 MiB unless set.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Longest time for one request; 30 seconds unless set.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How long requests in hand may go on after the shutdown began; 10 seconds unless set.
    #[must_use]
    pub fn shutdown_deadline(mut self, deadline: Duration) -> Self {
        self.shutdown_deadline = deadline;
        self
    }

    /// Everything as one router, for tests without a socket. `/health/ready` turns to 503 once `shutdown` is cancelled.
    pub fn into_router(self, shutdown: CancellationToken) -> Router {
        let health = Arc::new(health::Health::new(
            self.name,
            self.version,
            self.checks,
            shutdown,
        ));
        let (routes, document) = self.routes.split_for_parts();
        let telemetry = self.telemetry;
        let metrics = move || async move {
            (
                [("content-type", "text/plain; version=0.0.4; charset=utf-8")],
                telemetry.render(),
            )
        };
        routes
            .merge(health::routes(health))
            .merge(docs::routes(document, self.name, self.version))
            .merge(errors::routes())
            .route("/metrics", axum::routing::get(metrics))
            .method_not_allowed_fallback(|| async { Problem::of(kinds::METHOD_NOT_ALLOWED) })
            .fallback(|uri: axum::http::Uri| async move {
                Problem::of(kinds::NOT_FOUND).detail(format!(
                    "{} is not a path of this service; /docs shows them",
                    uri.path()
                ))
            })
            .layer(DefaultBodyLimit::max(self.body_limit))
            .layer(middleware::from_fn_with_state(
                observe::Observe::new(self.request_timeout),
                observe::observe,
            ))
    }

    /// Takes the address; the server does not answer yet. Port 0 takes a free port, see [`Bound::local_addr`].
    ///
    /// # Errors
    /// [`ServerError`] naming the address and the way out.
    pub async fn bind(
        self,
        address: &str,
        shutdown: CancellationToken,
    ) -> Result<Bound, ServerError> {
        let listener = bind::listen(self.name, address).await?;
        let deadline = self.shutdown_deadline;
        Ok(Bound {
            name: self.name,
            listener,
            deadline,
            shutdown: shutdown.clone(),
            router: self.into_router(shutdown),
        })
    }

    /// Answers requests until `shutdown` is cancelled, then finishes those in hand, within the deadline.
    ///
    /// # Errors
    /// [`ServerError`] when the address cannot be taken.
    pub async fn serve(
        self,
        address: &str,
        shutdown: CancellationToken,
    ) -> Result<(), ServerError> {
        self.bind(address, shutdown).await?.serve().await
    }
}

impl Bound {
    /// Answers requests until the shutdown, then finishes those in hand, within the deadline.
    ///
    /// # Errors
    /// [`ServerError::Failed`] when the listener breaks.
    pub async fn serve(self) -> Result<(), ServerError> {
        let address = self.listener.local_addr().map_err(ServerError::Failed)?;
        tracing::info!(service = self.name, %address, url = format!("http://{address}"), "listening");
        // Small answers leave at once instead of waiting for more to send.
        let listener = self.listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "tcp_nodelay not set");
            }
        });
        let stopping = self.shutdown.clone();
        let serving = axum::serve(listener, self.router)
            .with_graceful_shutdown(async move { stopping.cancelled().await })
            .into_future();
        let overdue = async {
            self.shutdown.cancelled().await;
            tokio::time::sleep(self.deadline).await;
        };
        tokio::select! {
            served = serving => served.map_err(ServerError::Failed),
            () = overdue => {
                tracing::warn!(deadline_seconds = self.deadline.as_secs_f64(), "connections cut: requests outlived the shutdown deadline");
                Ok(())
            }
        }
    }
}
