//! Around every request: its ids, its place in a trace, its time limit, one log line, its metrics.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::Once,
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, Method},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use metrics::Unit;
use telemetry::{Context, Happening, TraceContext, context};

use crate::{Problem, kinds, request};

/// Status in log and metrics when the client went away before the answer; as nginx writes it.
const CLIENT_CLOSED: u16 = 499;

#[derive(Clone, Copy, Debug)]
pub(super) struct Observe {
    timeout: Duration,
}

impl Observe {
    pub(super) fn new(timeout: Duration) -> Self {
        static DESCRIBED: Once = Once::new();
        DESCRIBED.call_once(|| {
            metrics::describe_counter!(
                "oncebox_http_requests_total",
                "Requests answered, by route, method and status; 499: the client went away."
            );
            metrics::describe_histogram!(
                "oncebox_http_request_duration_seconds",
                Unit::Seconds,
                "Time from a request's arrival to its answer, by route and method."
            );
            metrics::describe_gauge!(
                "oncebox_http_requests_in_flight",
                "Requests being answered at this moment."
            );
        });
        Self { timeout }
    }
}

pub(super) async fn observe(
    State(observe): State<Observe>,
    request: Request,
    next: Next,
) -> Response {
    let id = request::request_id(request.headers());
    let context = context_of(&request, &id);
    let correlation = context.correlation.clone();
    // Dropped without an answer when the client goes away, and then says so.
    let mut answered = Answered::begin(&request, &id, context.clone());

    let answer = request::ID.scope(id.clone(), async {
        let handled = AssertUnwindSafe(tokio::time::timeout(observe.timeout, next.run(request)))
            .catch_unwind();
        match handled.await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => overdue(observe.timeout),
            Err(panic) => Problem::internal(format!("panic: {}", message(&*panic))).into_response(),
        }
    });
    let mut response = context::scope(context, answer).await;
    for (name, value) in [
        (request::REQUEST_ID, id),
        (request::CORRELATION_ID, correlation),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    answered.status = response.status().as_u16();
    response
}

/// The caller's correlation and trace are continued; what it does not send begins here.
fn context_of(request: &Request, id: &str) -> Context {
    let headers = request.headers();
    let caller = headers
        .get("traceparent")
        .and_then(|value| value.to_str().ok()?.parse::<TraceContext>().ok());
    Context {
        correlation: request::correlation_id(headers).unwrap_or_else(|| id.to_owned()),
        causation: None,
        trace: caller.map_or_else(TraceContext::root, |caller| caller.child()),
    }
}

fn overdue(timeout: Duration) -> Response {
    Problem::of(kinds::TIMEOUT)
        .detail(format!(
            "no answer within {} s; whether the request took effect can be asked for",
            timeout.as_secs_f64()
        ))
        .retry_after(1)
        .into_response()
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// A request from its arrival to its end.
struct Answered {
    started: Instant,
    method: Method,
    path: String,
    route: String,
    id: String,
    context: Context,
    status: u16,
}

impl Answered {
    fn begin(request: &Request, id: &str, context: Context) -> Self {
        metrics::gauge!("oncebox_http_requests_in_flight").increment(1.0);
        // The pattern, not the path: there are few patterns, and without end of paths.
        let route = request
            .extensions()
            .get::<MatchedPath>()
            .map_or("unmatched", MatchedPath::as_str);
        Self {
            started: Instant::now(),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            route: route.to_owned(),
            id: id.to_owned(),
            context,
            status: CLIENT_CLOSED,
        }
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        metrics::gauge!("oncebox_http_requests_in_flight").decrement(1.0);
        telemetry::emit(RequestAnswered {
            request: self,
            duration: self.started.elapsed(),
        });
    }
}

struct RequestAnswered<'a> {
    request: &'a Answered,
    duration: Duration,
}

impl Happening for RequestAnswered<'_> {
    fn emit(self) {
        let Answered {
            method,
            path,
            route,
            id,
            status,
            context,
            ..
        } = self.request;
        let labels = [("method", known(method)), ("route", route.clone().into())];
        metrics::histogram!("oncebox_http_request_duration_seconds", &labels).record(self.duration);
        let [method_label, route_label] = labels;
        let labels = [
            method_label,
            route_label,
            ("status", status.to_string().into()),
        ];
        metrics::counter!("oncebox_http_requests_total", &labels).increment(1);

        let duration_ms = self.duration.as_secs_f64() * 1e3;
        context::scope_sync(context.clone(), || {
            // Whoever probes and scrapes does so every few seconds, and is not interesting.
            if *status < 500 && (route.starts_with("/health") || route == "/metrics") {
                tracing::debug!(%method, path, status, duration_ms, request_id = id, "request answered");
            } else {
                tracing::info!(%method, path, status, duration_ms, request_id = id, "request answered");
            }
        });
    }
}

/// Methods are free text on the wire; as a label only the known ones are kept apart.
fn known(method: &Method) -> metrics::SharedString {
    match method.as_str() {
        "GET" => "GET".into(),
        "POST" => "POST".into(),
        "PUT" => "PUT".into(),
        "PATCH" => "PATCH".into(),
        "DELETE" => "DELETE".into(),
        "HEAD" => "HEAD".into(),
        "OPTIONS" => "OPTIONS".into(),
        _ => "other".into(),
    }
}
