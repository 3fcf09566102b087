//! A real server on a real socket: what all services promise their clients.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test helper fails the test"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http_kit::{
    BearerAuth, Cursor, FieldError, Limit, Path, Problem, Query, Server, ServerError, StrictJson,
    ValidJson, Validate,
};
use reqwest::{Client, Method, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use telemetry::{LogFormat, context};
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Order {
    product: String,
    lines: Vec<Line>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Line {
    quantity: i32,
}

impl Validate for Order {
    fn validate(&self) -> Vec<FieldError> {
        let lines = self
            .lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.quantity < 1);
        lines
            .map(|(at, _)| FieldError::at(format!("/lines/{at}/quantity"), "must be at least 1"))
            .collect()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listing {
    #[serde(default)]
    limit: Limit,
    cursor: Option<Cursor<u64>>,
}

/// Takes an order.
#[utoipa::path(post, path = "/v1/orders", request_body = Order,
    responses((status = 200, body = Order), (status = 422, body = http_kit::ProblemBody, content_type = "application/problem+json")))]
async fn submit(ValidJson(order): ValidJson<Order>) -> StrictJson<Order> {
    StrictJson(order)
}

async fn list(Query(listing): Query<Listing>) -> String {
    format!(
        "{} {:?}",
        listing.limit.size(),
        listing.cursor.map(|cursor| cursor.0)
    )
}

async fn show(Path(id): Path<u32>) -> Result<String, Problem> {
    match id {
        1 => panic!("the shelf fell down"),
        2 => Err(sqlx::Error::PoolTimedOut.into()),
        3 => Err(sqlx::Error::RowNotFound.into()),
        4 => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok("late".into())
        }
        5 => Err(anyhow::Error::from(sqlx::Error::PoolTimedOut)
            .context("loading the order")
            .into()),
        _ => {
            let context = context::current().unwrap();
            Ok(format!("{} {}", context.correlation, context.trace))
        }
    }
}

struct Running {
    client: Client,
    url: String,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), ServerError>>,
    database_up: Arc<AtomicBool>,
    entered: Arc<Notify>,
    leave: Arc<Notify>,
}

impl Running {
    async fn start() -> Self {
        let database_up = Arc::new(AtomicBool::new(true));
        let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (enter, left) = (entered.clone(), leave.clone());
        let slow = axum::routing::get(move || async move {
            enter.notify_one();
            left.notified().await;
            "done"
        });
        let guarded = OpenApiRouter::new()
            .route("/v1/secret", axum::routing::get(|| async { "open" }))
            .route_layer(BearerAuth::new("s3cret"));
        let routes = OpenApiRouter::new()
            .routes(routes!(submit))
            .route("/v1/list", axum::routing::get(list))
            .route("/v1/orders/{id}", axum::routing::get(show))
            .route("/v1/slow", slow)
            .merge(guarded);
        let telemetry = telemetry::init("shop", "1.2.3", LogFormat::Json, "off").unwrap();
        let shutdown = CancellationToken::new();
        let up = database_up.clone();
        let bound = Server::new("shop", "1.2.3", telemetry, routes)
            .check("database", move || {
                let up = up.load(Ordering::SeqCst);
                async move {
                    if up {
                        Ok(())
                    } else {
                        Err("connection refused")
                    }
                }
            })
            .check_optional("registry", || async { Err::<(), _>("away for lunch") })
            .body_limit(1000)
            .request_timeout(Duration::from_millis(800))
            .shutdown_deadline(Duration::from_millis(500))
            .bind("127.0.0.1:0", shutdown.clone())
            .await
            .unwrap();
        let url = format!("http://{}", bound.local_addr().unwrap());
        let serving = tokio::spawn(bound.serve());
        Self {
            client: Client::new(),
            url,
            shutdown,
            serving,
            database_up,
            entered,
            leave,
        }
    }

    async fn get(&self, path: &str) -> Response {
        self.client
            .get(format!("{}{path}", self.url))
            .send()
            .await
            .unwrap()
    }

    async fn post(&self, body: impl Into<reqwest::Body>) -> Response {
        let request = self
            .client
            .post(format!("{}/v1/orders", self.url))
            .header("content-type", "application/json");
        request.body(body).send().await.unwrap()
    }
}

/// The problem of an answer, after checking what is true of every problem.
async fn problem(response: Response) -> Value {
    let status = response.status().as_u16();
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let request_id = response.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status);
    assert_eq!(problem["request_id"], request_id);
    assert_eq!(
        problem["type"],
        format!("/errors/{}", problem["code"].as_str().unwrap())
    );
    problem
}

async fn code(response: Response) -> String {
    problem(response).await["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn bodies_are_refused_with_a_reason_and_a_place() {
    let server = Running::start().await;
    assert_eq!(
        server
            .post(r#"{"product":"p","lines":[{"quantity":1}]}"#)
            .await
            .status(),
        StatusCode::OK
    );

    for syntax in [
        "",
        "{",
        "[1,]",
        "{\"product\":\"p\",\"lines\":[]} x",
        "{\"product\":\"p\",\"lines\":[]}{}",
    ] {
        let response = server.post(syntax).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{syntax}");
        assert_eq!(code(response).await, "request.json_syntax", "{syntax}");
    }

    let found = problem(
        server
            .post(r#"{"product":"p","lines":[{"quantity":"three"}]}"#)
            .await,
    )
    .await;
    assert_eq!(
        (&found["status"], &found["errors"][0]["pointer"]),
        (&json!(422), &json!("/lines/0/quantity"))
    );
    assert!(
        found["errors"][0]["detail"]
            .as_str()
            .unwrap()
            .contains("expected i32"),
        "{found}"
    );

    let found = problem(server.post(r#"{"product":"p"}"#).await).await;
    assert_eq!(found["errors"][0]["detail"], "missing field `lines`");

    // Unknown fields and values out of range, at once.
    let body = r#"{"product":"p","lines":[{"quantity":1},{"quantity":0,"a/b":1}],"colour":"red"}"#;
    let found = problem(server.post(body).await).await;
    let mut pointers: Vec<&str> = found["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    pointers.sort_unstable();
    assert_eq!(
        pointers,
        ["/colour", "/lines/1/a~1b", "/lines/1/quantity"],
        "{found}"
    );

    assert_eq!(
        code(server.post("x".repeat(1001)).await).await,
        "http.body_too_large"
    );
    let text = server
        .client
        .post(format!("{}/v1/orders", server.url))
        .body("{}")
        .header("content-type", "text/plain");
    let response = text.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(code(response).await, "http.unsupported_media_type");
}

#[tokio::test]
async fn paths_queries_and_methods_are_refused_as_problems() {
    let server = Running::start().await;
    assert_eq!(
        code(server.get("/v1/nowhere").await).await,
        "http.not_found"
    );
    assert_eq!(
        code(server.get("/v1/orders/abc").await).await,
        "request.path_invalid"
    );
    let response = server.get("/v1/orders").await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()["allow"], "POST");
    assert_eq!(code(response).await, "http.method_not_allowed");
    let removed = server
        .client
        .request(Method::DELETE, format!("{}/metrics", server.url))
        .send()
        .await
        .unwrap();
    assert_eq!(code(removed).await, "http.method_not_allowed");

    let cursor = Cursor(7u64).to_string();
    assert_eq!(
        server.get("/v1/list").await.text().await.unwrap(),
        "20 None"
    );
    assert_eq!(
        server
            .get(&format!("/v1/list?limit=5&cursor={cursor}"))
            .await
            .text()
            .await
            .unwrap(),
        "5 Some(7)"
    );
    for (query, parameter) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("cursor=AAAA", "cursor"),
        ("limt=5", "limt"),
    ] {
        let response = server.get(&format!("/v1/list?{query}")).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let found = problem(response).await;
        assert_eq!(
            (&found["code"], &found["errors"][0]["parameter"]),
            (&json!("request.query_invalid"), &json!(parameter))
        );
    }
}

#[tokio::test]
async fn failures_tell_the_client_what_to_do_and_nothing_more() {
    let server = Running::start().await;
    let found = problem(server.get("/v1/orders/1").await).await;
    assert_eq!(found["code"], "internal.error");
    assert!(
        !found.to_string().contains("shelf"),
        "a panic's words stay inside: {found}"
    );

    for id in [2, 5] {
        let response = server.get(&format!("/v1/orders/{id}")).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()["retry-after"], "5");
        assert_eq!(code(response).await, "database.unavailable");
    }
    assert_eq!(
        code(server.get("/v1/orders/3").await).await,
        "internal.error",
        "no row is no 404"
    );
    let response = server.get("/v1/orders/4").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(code(response).await, "http.timeout");
    assert_eq!(
        server.get("/v1/orders/9").await.status(),
        StatusCode::OK,
        "the server lives on"
    );
}

#[tokio::test]
async fn correlation_and_trace_are_continued_or_begun() {
    let server = Running::start().await;
    let response = server
        .client
        .get(format!("{}/v1/orders/9", server.url))
        .header("x-request-id", "req-1")
        .header("x-correlation-id", "corr-1")
        .header(
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        )
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["x-request-id"], "req-1");
    assert_eq!(response.headers()["oncebox-correlation-id"], "corr-1");
    let text = response.text().await.unwrap();
    assert!(
        text.starts_with("corr-1 00-4bf92f3577b34da6a3ce929d0e0e4736-"),
        "{text}"
    );
    assert!(
        !text.contains("00f067aa0ba902b7"),
        "a span of its own: {text}"
    );

    let begun = server
        .client
        .get(format!("{}/v1/orders/9", server.url))
        .header("x-correlation-id", "x".repeat(200))
        .send()
        .await
        .unwrap();
    let id = begun.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(
        begun.headers()["oncebox-correlation-id"],
        id.as_str(),
        "an unusable id is replaced"
    );
}

#[tokio::test]
async fn readiness_names_each_dependency_and_ends_with_the_service() {
    let server = Running::start().await;
    let response = server.get("/health/ready").await;
    assert_eq!(response.status(), StatusCode::OK);
    let answer: Value = response.json().await.unwrap();
    assert_eq!(
        (&answer["status"], &answer["version"]),
        (&json!("degraded"), &json!("1.2.3"))
    );
    assert_eq!(answer["checks"]["database"]["status"], "up");
    assert_eq!(answer["checks"]["registry"]["error"], "away for lunch");

    server.database_up.store(false, Ordering::SeqCst);
    let response = server.get("/health/ready").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let answer: Value = response.json().await.unwrap();
    assert_eq!(
        (&answer["status"], &answer["checks"]["database"]["error"]),
        (&json!("unready"), &json!("connection refused"))
    );
    assert_eq!(
        server.get("/health/live").await.status(),
        StatusCode::OK,
        "a restart would not mend the database"
    );
}

#[tokio::test]
async fn the_api_describes_itself_without_a_network() {
    let server = Running::start().await;
    let document: Value = server.get("/openapi.json").await.json().await.unwrap();
    assert_eq!(
        (&document["info"]["title"], &document["info"]["version"]),
        (&json!("Oncebox shop"), &json!("1.2.3"))
    );
    assert!(
        document["paths"]["/v1/orders"]["post"].is_object(),
        "{document}"
    );
    assert!(
        document["components"]["schemas"]["Problem"]["properties"]["type"].is_object(),
        "{document}"
    );

    let page = server.get("/docs/").await;
    assert_eq!(page.status(), StatusCode::OK);
    let page = page.text().await.unwrap();
    assert!(
        !page.contains("http://") && !page.contains("https://"),
        "nothing is loaded from elsewhere: {page}"
    );
    let starter = server
        .get("/docs/swagger-initializer.js")
        .await
        .text()
        .await
        .unwrap();
    assert!(starter.contains("/openapi.json"), "{starter}");
    assert_eq!(
        server.get("/docs/swagger-ui-bundle.js").await.status(),
        StatusCode::OK
    );

    let explained = server.get("/errors/request.invalid").await;
    assert_eq!(
        explained.headers()["content-type"],
        "text/markdown; charset=utf-8"
    );
    assert!(
        explained
            .text()
            .await
            .unwrap()
            .starts_with("# request.invalid")
    );
    let index = server
        .client
        .get(format!("{}/errors", server.url))
        .header("accept", "text/html")
        .send()
        .await
        .unwrap();
    assert!(
        index
            .text()
            .await
            .unwrap()
            .contains("<a href=\"/errors/request.invalid\">")
    );
    assert_eq!(
        code(server.get("/errors/no.such_code").await).await,
        "http.not_found"
    );
}

#[tokio::test]
async fn metrics_count_by_route_and_stay_bounded() {
    let server = Running::start().await;
    for id in 100..103 {
        server.get(&format!("/v1/orders/{id}")).await;
        server.get(&format!("/v1/made-up-{id}")).await;
    }
    server
        .client
        .request(
            Method::from_bytes(b"BREW").unwrap(),
            format!("{}/v1/tea", server.url),
        )
        .send()
        .await
        .unwrap();
    let text = server.get("/metrics").await.text().await.unwrap();
    assert!(
        text.contains(
            "oncebox_http_requests_total{method=\"GET\",route=\"/v1/orders/{id}\",status=\"200\"}"
        ),
        "{text}"
    );
    assert!(
        text.contains(
            "oncebox_http_requests_total{method=\"GET\",route=\"unmatched\",status=\"404\"}"
        ),
        "{text}"
    );
    assert!(
        text.contains(
            "oncebox_http_requests_total{method=\"other\",route=\"unmatched\",status=\"404\"}"
        ),
        "{text}"
    );
    assert!(
        text.contains("# HELP oncebox_http_requests_total "),
        "{text}"
    );
    assert!(text.contains("oncebox_http_request_duration_seconds_bucket{method=\"GET\",route=\"/v1/orders/{id}\",le=\"0.1\"}"), "{text}");
    assert!(text.contains("process_resident_memory_bytes "), "{text}");
    assert!(
        !text.contains("made-up") && !text.contains("BREW"),
        "{text}"
    );
}

#[tokio::test]
async fn a_token_guards_what_it_should_and_no_more() {
    let server = Running::start().await;
    let response = server.get("/v1/secret").await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(
        response.headers()["www-authenticate"]
            .to_str()
            .unwrap()
            .starts_with("Bearer")
    );
    assert_eq!(code(response).await, "auth.token_missing");
    let with = |token: &'static str| {
        server
            .client
            .get(format!("{}/v1/secret", server.url))
            .bearer_auth(token)
            .send()
    };
    assert_eq!(
        code(with("other").await.unwrap()).await,
        "auth.token_invalid"
    );
    assert_eq!(with("s3cret").await.unwrap().text().await.unwrap(), "open");
    assert_eq!(server.get("/health/live").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn shutdown_finishes_what_is_in_hand_and_takes_nothing_new() {
    let server = Running::start().await;
    let request = server.client.get(format!("{}/v1/slow", server.url)).send();
    let slow = tokio::spawn(request);
    server.entered.notified().await;
    server.shutdown.cancel();
    server.leave.notify_one();
    assert_eq!(slow.await.unwrap().unwrap().text().await.unwrap(), "done");
    server.serving.await.unwrap().unwrap();
    assert!(
        Client::new()
            .get(format!("{}/health/live", server.url))
            .send()
            .await
            .is_err()
    );
}

#[tokio::test]
async fn shutdown_does_not_wait_beyond_its_deadline() {
    let server = Running::start().await;
    let slow = tokio::spawn(server.client.get(format!("{}/v1/slow", server.url)).send());
    server.entered.notified().await;
    server.shutdown.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), server.serving).await;
    ended
        .expect("the deadline of 500 ms was kept")
        .unwrap()
        .unwrap();
    slow.abort();
}

#[tokio::test]
async fn an_address_in_use_is_named_with_the_way_out() {
    let server = Running::start().await;
    let address = server.url.strip_prefix("http://").unwrap();
    let telemetry = telemetry::init("shop", "1.2.3", LogFormat::Json, "off").unwrap();
    let second = Server::new("order", "1.2.3", telemetry, OpenApiRouter::new());
    let error = second
        .serve(address, CancellationToken::new())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "server.address_in_use");
    assert!(
        error.to_string().contains(address) && error.to_string().contains("ONCEBOX_HTTP_ADDRESS"),
        "{error}"
    );
}

#[tokio::test]
async fn a_client_that_goes_away_is_counted_as_such() {
    let server = Running::start().await;
    let slow = tokio::spawn(server.client.get(format!("{}/v1/slow", server.url)).send());
    server.entered.notified().await;
    slow.abort();
    let gone = "oncebox_http_requests_total{method=\"GET\",route=\"/v1/slow\",status=\"499\"}";
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while !server
        .get("/metrics")
        .await
        .text()
        .await
        .unwrap()
        .contains(gone)
    {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{gone} did not appear"
        );
        tokio::task::yield_now().await;
    }
}
