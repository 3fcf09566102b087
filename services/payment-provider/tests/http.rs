//! The simulator over HTTP, as a payment service and a test see it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::{Duration, Instant};

use payment_provider::Settings;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Running {
    url: String,
    client: Client,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl Running {
    async fn start(ledger: &Path) -> Self {
        let settings = Settings {
            http_address: "127.0.0.1:0".into(),
            ledger_file: ledger.to_string_lossy().into_owned(),
            hang_ms: 60_000,
            log_format: telemetry::LogFormat::Auto,
            log_filter: "warn".into(),
        };
        let shutdown = CancellationToken::new();
        let bound = payment_provider::bind(settings, shutdown.clone())
            .await
            .unwrap();
        let url = format!("http://{}", bound.local_addr().unwrap());
        let serving = tokio::spawn(async move { bound.serve().await.unwrap() });
        let client = Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap();
        Self {
            url,
            client,
            shutdown,
            serving,
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    async fn authorize(&self, order: &str, token: &str) -> (StatusCode, Value) {
        let key = format!("{order}-authorize");
        self.send(
            Method::POST,
            "/v1/authorizations",
            Some(&key),
            Some(request(order, token)),
        )
        .await
    }

    async fn ledger(&self, order: &str) -> Value {
        self.send(
            Method::GET,
            &format!("/v1/ledger?reference={order}"),
            None,
            None,
        )
        .await
        .1
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.serving.await.unwrap();
    }
}

fn request(order: &str, token: &str) -> Value {
    json!({"amount_minor": 1250, "currency": "EUR", "token": token, "reference": order})
}

#[tokio::test]
async fn the_ledger_counts_effects_and_calls_apart_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.jsonl");
    let provider = Running::start(&file).await;
    let (status, authorized) = provider.authorize("o1", "tok_approved").await;
    assert_eq!(
        (status, &authorized["status"]),
        (StatusCode::OK, &json!("approved"))
    );
    let capture = format!(
        "/v1/authorizations/{}/capture",
        authorized["id"].as_str().unwrap()
    );
    let (_, captured) = provider
        .send(Method::POST, &capture, Some("o1-capture"), None)
        .await;
    // Not stopped: whatever was answered must be in the file already, as after a kill.
    let again = Running::start(&file).await;
    let (status, repeated) = again
        .send(Method::POST, &capture, Some("o1-capture"), None)
        .await;
    assert_eq!((status, &repeated), (StatusCode::OK, &captured));
    let ledger = again.ledger("o1").await;
    assert_eq!(
        ledger["effects"],
        json!({"authorize": 1, "capture": 1, "void": 0, "refund": 0})
    );
    assert_eq!(ledger["calls"]["capture"], 2);
    assert_eq!(
        (&ledger["held_minor"], &ledger["captured_minor"]),
        (&json!(0), &json!(1250))
    );
    assert_eq!(ledger["operations"].as_array().unwrap().len(), 2);
    let (_, found) = again
        .send(Method::GET, "/v1/operations/o1-capture", None, None)
        .await;
    assert_eq!(found, captured);
    again.stop().await;
    provider.stop().await;
}

#[tokio::test]
async fn a_lost_answer_is_found_by_its_key_and_lost_only_once() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Running::start(&folder.path().join("ledger.jsonl")).await;
    let hasty = Client::builder()
        .no_proxy()
        .timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    let lost = hasty
        .post(format!("{}/v1/authorizations", provider.url))
        .header("Idempotency-Key", "o2-authorize")
        .json(&request("o2", "tok_timeout_authorize"))
        .send()
        .await;
    assert!(lost.unwrap_err().is_timeout());
    let (status, found) = provider
        .send(Method::GET, "/v1/operations/o2-authorize", None, None)
        .await;
    assert_eq!(
        (status, &found["status"]),
        (StatusCode::OK, &json!("approved"))
    );
    let (status, repeated) = provider.authorize("o2", "tok_timeout_authorize").await;
    assert_eq!((status, repeated), (StatusCode::OK, found));
    assert_eq!(provider.ledger("o2").await["effects"]["authorize"], 1);

    // Somebody still waits for a lost answer: a shutdown does not wait for it.
    let waiting = {
        let (client, url) = (provider.client.clone(), provider.url.clone());
        let body = request("o3", "tok_timeout_authorize");
        tokio::spawn(async move {
            client
                .post(format!("{url}/v1/authorizations"))
                .header("Idempotency-Key", "o3")
                .json(&body)
                .send()
                .await
        })
    };
    let begun = Instant::now();
    while provider.ledger("o3").await["effects"]["authorize"] != 1 {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "the work is done before the answer is lost"
        );
    }
    provider.stop().await;
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "a shutdown does not wait for the answer to be lost"
    );
    let _ = waiting.await.unwrap();
}

#[tokio::test]
async fn a_slow_operation_happens_even_if_nobody_waits() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Running::start(&folder.path().join("ledger.jsonl")).await;
    let hasty = Client::builder()
        .no_proxy()
        .timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    let lost = hasty
        .post(format!("{}/v1/authorizations", provider.url))
        .header("Idempotency-Key", "o4-authorize")
        .json(&request("o4", "tok_slow_400"))
        .send()
        .await;
    assert!(lost.unwrap_err().is_timeout());
    let (status, _) = provider
        .send(Method::GET, "/v1/operations/o4-authorize", None, None)
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND, "not yet");
    let (status, _) = provider.authorize("o4", "tok_slow_400").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(provider.ledger("o4").await["effects"]["authorize"], 1);
    provider.stop().await;
}

#[tokio::test]
async fn modes_and_mistakes_are_answered_as_problems() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Running::start(&folder.path().join("ledger.jsonl")).await;
    let code = |answer: (StatusCode, Value)| {
        (
            answer.0.as_u16(),
            answer.1["code"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let expect = |status: u16, code: &str| (status, code.to_owned());

    let put = |body: Value| provider.send(Method::PUT, "/v1/mode", None, Some(body));
    assert_eq!(put(json!({"down": true})).await.0, StatusCode::OK);
    assert_eq!(
        code(provider.authorize("o5", "tok_approved").await),
        expect(503, "provider.down")
    );
    assert_eq!(
        code(
            provider
                .send(Method::GET, "/v1/operations/x", None, None)
                .await
        ),
        expect(503, "provider.down")
    );
    assert_eq!(
        put(json!({"error_ratio": 1.0, "seed": 1})).await.0,
        StatusCode::OK
    );
    assert_eq!(
        code(provider.authorize("o5", "tok_approved").await),
        expect(500, "provider.simulated_error")
    );
    assert_eq!(
        code(put(json!({"error_ratio": 2.0})).await),
        expect(422, "request.invalid")
    );
    assert_eq!(put(json!({})).await.0, StatusCode::OK);

    let wrong = json!({"amount_minor": 0, "currency": "euro", "token": "", "reference": "o6"});
    let (status, problem) = provider
        .send(Method::POST, "/v1/authorizations", Some("k"), Some(wrong))
        .await;
    assert_eq!(
        (status.as_u16(), problem["errors"].as_array().unwrap().len()),
        (422, 3)
    );
    let missing = provider
        .send(
            Method::POST,
            "/v1/authorizations",
            None,
            Some(request("o6", "tok_approved")),
        )
        .await;
    assert_eq!(code(missing), expect(400, "idempotency.key_missing"));
    provider.authorize("o7", "tok_approved").await;
    assert_eq!(
        code(provider.authorize("o7", "tok_declined").await),
        expect(422, "idempotency.payload_mismatch")
    );
    let capture = provider
        .send(
            Method::POST,
            "/v1/authorizations/none/capture",
            Some("k2"),
            None,
        )
        .await;
    assert_eq!(
        code(capture),
        expect(404, "provider.authorization_not_found")
    );
    let (_, declined) = provider.authorize("o8", "tok_declined").await;
    let path = format!(
        "/v1/authorizations/{}/capture",
        declined["id"].as_str().unwrap()
    );
    assert_eq!(
        code(provider.send(Method::POST, &path, Some("k3"), None).await),
        expect(409, "provider.state_conflict")
    );
    provider.stop().await;
}
