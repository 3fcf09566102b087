//! A replayer of the test's own: its database, its topics, its API.
#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "shared by tests that each use a part"
)]

use std::time::Duration;

use dlq_replayer::settings::{DEFAULTS, Settings};
use oncebox::{Headers, dead_letter};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::TestDb;
use testkit::kafka::{Sender, create_topics};
use tokio_util::sync::CancellationToken;

pub const TOKEN: &str = "test-token";
pub const SOON: Duration = Duration::from_secs(30);

pub struct Replayer {
    pub prefix: String,
    pub database: TestDb,
    pub url: String,
    pub sender: Sender,
    pub settings: Settings,
    client: reqwest::Client,
    shutdown: CancellationToken,
}

pub fn settings(prefix: &str, database_url: &str) -> Settings {
    let mut settings: Settings = toml::from_str(DEFAULTS).unwrap();
    settings.http_address = "127.0.0.1:0".into();
    settings.database_url = database_url.into();
    settings.kafka = testkit::kafka_address();
    settings.schema_registry = testkit::registry_address();
    settings.topic_prefix = prefix.into();
    settings.token = TOKEN.into();
    settings.topic_refresh_ms = 500;
    settings
}

impl Replayer {
    pub async fn start() -> Self {
        let database = TestDb::empty("replayer").await;
        let prefix = testkit::topic_prefix();
        Self::start_with(settings(&prefix, database.url()), database).await
    }

    pub async fn start_with(settings: Settings, database: TestDb) -> Self {
        let shutdown = CancellationToken::new();
        let running = dlq_replayer::start(settings.clone(), shutdown.clone())
            .await
            .unwrap();
        let url = format!("http://{}", running.address().unwrap());
        tokio::spawn(running.wait());
        Self {
            prefix: settings.topic_prefix.clone(),
            database,
            url,
            sender: Sender::new(),
            settings,
            client: reqwest::Client::new(),
            shutdown,
        }
    }

    pub fn source(&self) -> String {
        format!("{}order.events", self.prefix)
    }

    pub fn dlq(&self, group: &str) -> String {
        dead_letter::topic(&self.source(), group)
    }

    pub fn replay(&self, group: &str) -> String {
        dead_letter::replay_topic(&self.source(), group)
    }

    /// The topics of a group: dead letters and replays.
    pub async fn create_group_topics(&self, group: &str) {
        create_topics(&[&self.dlq(group), &self.replay(group)], 2).await;
    }

    /// A dead letter as the kit's consumer writes it.
    pub async fn dead_letter(
        &self,
        group: &str,
        key: &str,
        value: Option<&[u8]>,
        own: &Headers,
    ) -> (i32, i64) {
        let mut headers = own.clone();
        headers.push("__dlq.errors.topic", self.source());
        headers.push("__dlq.errors.partition", "0");
        headers.push("__dlq.errors.offset", "7");
        headers.push("__dlq.errors.group", group);
        headers.push("__dlq.errors.delivery.count", "6");
        headers.push("__dlq.errors.message", "no merchant account for USD");
        headers.push("oncebox-error-class", "permanent");
        headers.push("oncebox-error-code", "payment.merchant_account_missing");
        headers.push("oncebox-error-site", "payment::authorize");
        headers.push("oncebox-first-failed-at", "2026-01-31T08:00:00Z");
        headers.push("oncebox-last-failed-at", "2026-01-31T08:00:05Z");
        headers.push("oncebox-service-version", "0.1.0");
        self.sender
            .send(
                &self.dlq(group),
                None,
                Some(key.as_bytes()),
                value,
                &headers,
            )
            .await
    }

    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        (status, response.json().await.unwrap())
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    pub async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Waits until the index holds that many letters of a group, oldest first.
    pub async fn indexed(&self, group: &str, count: usize) -> Vec<Value> {
        let path = format!("/v1/dlq/letters?limit=100&group={group}");
        let mut items = testkit::eventually(
            &format!("{count} letters of {group} in the index"),
            SOON,
            async || {
                let items = self.get(&path).await["items"].as_array().unwrap().clone();
                (items.len() >= count).then_some(items)
            },
        )
        .await;
        assert_eq!(items.len(), count);
        items.reverse();
        items
    }

    pub async fn scalar<T>(&self, sql: &'static str) -> T
    where
        T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        sqlx::query_scalar(sql)
            .fetch_one(self.database.pool())
            .await
            .unwrap()
    }
}

impl Drop for Replayer {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

pub fn own_headers(event_id: &str) -> Headers {
    let mut headers = Headers::new();
    headers.push("ce_id", event_id);
    headers.push("id", event_id);
    headers.push("ce_type", "oncebox.order.OrderPlaced");
    headers
}

pub fn problem(answer: &(StatusCode, Value)) -> (u16, &str) {
    (
        answer.0.as_u16(),
        answer.1["code"].as_str().unwrap_or_default(),
    )
}

pub fn ids(letters: &[Value]) -> Vec<i64> {
    letters
        .iter()
        .map(|letter| letter["id"].as_i64().unwrap())
        .collect()
}

pub fn by_ids(ids: &[i64]) -> Value {
    json!({ "ids": ids })
}
