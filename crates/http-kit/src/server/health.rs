//! Is the process alive, and can it do its work?

use std::{
    collections::BTreeMap,
    fmt::Display,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use futures::{FutureExt, future::BoxFuture};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// A dependency that does not answer within this time counts as down.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// A dependency and how to ask after it.
pub struct Check {
    name: &'static str,
    required: bool,
    run: Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check")
            .field("name", &self.name)
            .field("required", &self.required)
            .finish_non_exhaustive()
    }
}

impl Check {
    pub(super) fn new<C, F, E>(name: &'static str, required: bool, check: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        let run = move || {
            check()
                .map(|result| result.map_err(|error| error.to_string()))
                .boxed()
        };
        Self {
            name,
            required,
            run: Box::new(run),
        }
    }

    async fn ask(&self) -> Dependency {
        let started = Instant::now();
        let answer = tokio::time::timeout(CHECK_TIMEOUT, (self.run)()).await;
        let error = match answer {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(_) => Some(format!("no answer within {} s", CHECK_TIMEOUT.as_secs())),
        };
        Dependency {
            status: if error.is_none() {
                "up".into()
            } else {
                "down".into()
            },
            required: self.required,
            latency_ms: (started.elapsed().as_secs_f64() * 1e5).round() / 1e2,
            error,
        }
    }
}

/// What `/health/ready` answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// `ready`; `degraded` (an optional dependency is down); `unready` (a required one is); `stopping`.
    pub status: String,
    /// The service.
    pub service: String,
    /// Its version.
    pub version: String,
    /// Its dependencies by name.
    pub checks: BTreeMap<String, Dependency>,
}

/// The state of one dependency.
#[derive(Debug, Serialize, Deserialize)]
pub struct Dependency {
    /// `up` or `down`.
    pub status: String,
    /// Whether the service can work without it.
    pub required: bool,
    /// How long the answer took, in milliseconds.
    pub latency_ms: f64,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

pub(super) struct Health {
    name: &'static str,
    version: &'static str,
    checks: Vec<Check>,
    shutdown: CancellationToken,
}

impl Health {
    pub(super) fn new(
        name: &'static str,
        version: &'static str,
        checks: Vec<Check>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            name,
            version,
            checks,
            shutdown,
        }
    }
}

pub(super) fn routes(health: Arc<Health>) -> Router {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .with_state(health)
}

/// Alive means: requests are answered. Dependencies do not matter here, for a restart would not mend them.
async fn live(State(health): State<Arc<Health>>) -> impl IntoResponse {
    Json(serde_json::json!({ "status": "live", "service": health.name, "version": health.version }))
}

async fn ready(State(health): State<Arc<Health>>) -> impl IntoResponse {
    let asked = health
        .checks
        .iter()
        .map(|check| async { (check.name.to_owned(), check.ask().await) });
    let checks: BTreeMap<String, Dependency> =
        futures::future::join_all(asked).await.into_iter().collect();
    let down = |required| {
        checks
            .values()
            .any(|check| check.error.is_some() && check.required == required)
    };
    let (code, status) = if health.shutdown.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping")
    } else if down(true) {
        (StatusCode::SERVICE_UNAVAILABLE, "unready")
    } else if down(false) {
        (StatusCode::OK, "degraded")
    } else {
        (StatusCode::OK, "ready")
    };
    let answer = Answer {
        status: status.into(),
        service: health.name.into(),
        version: health.version.into(),
        checks,
    };
    (code, Json(answer))
}
