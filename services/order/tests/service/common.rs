//! The service on a database of the test's own, and a client for it.

use std::net::SocketAddr;

use http_kit::service::Running;
use oncebox::{BatchFailure, Codec, Delivery, Outbox};
use order::Settings;
use order::handlers::replies::{Replies, Reply};
use reqwest::{Client, RequestBuilder, Response};
use schemas::inventory::{StockCommitted, StockReserved};
use schemas::payment::{PaymentAuthorized, PaymentCaptured};
use serde_json::{Value, json};
use testkit::TestDb;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) struct Service {
    pub(crate) db: TestDb,
    pub(crate) prefix: String,
    pub(crate) outbox: Outbox,
    pub(crate) address: SocketAddr,
    client: Client,
    stop: CancellationToken,
    running: Option<Running>,
}

impl Service {
    pub(crate) async fn start(label: &str) -> Self {
        Self::start_with(label, |_| {}).await
    }

    pub(crate) async fn start_with(label: &str, change: impl FnOnce(&mut Settings)) -> Self {
        let db = TestDb::empty(label).await;
        let prefix = testkit::topic_prefix();
        let mut settings: Settings = toml::from_str(order::DEFAULTS).unwrap();
        settings.http_address = "127.0.0.1:0".to_owned();
        settings.database_url = db.url().to_owned();
        settings.kafka = testkit::kafka_address();
        settings.schema_registry = testkit::registry_address();
        settings.topic_prefix = prefix.clone();
        settings.log_filter = "warn".to_owned();
        change(&mut settings);
        let codec = Codec::new(&settings.schema_registry, Some(db.pool().clone())).unwrap();
        let outbox = Outbox::new(codec, order::SERVICE, &prefix);
        let stop = CancellationToken::new();
        let running = order::start(settings, stop.clone()).await.unwrap();
        Self {
            db,
            prefix,
            outbox,
            address: running.address(),
            client: Client::new(),
            stop,
            running: Some(running),
        }
    }

    /// Ends the service in good order.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        self.running.take().unwrap().finished().await.unwrap();
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("http://{}{path}", self.address))
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("http://{}{path}", self.address))
    }

    pub(crate) fn submit(&self, key: &str, body: &Value) -> RequestBuilder {
        self.post("/v1/orders")
            .header("idempotency-key", key)
            .json(body)
    }

    /// Places an order; returns its id.
    pub(crate) async fn place(&self, body: &Value) -> Uuid {
        let response = self
            .submit(&Uuid::now_v7().to_string(), body)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 202);
        json_of(response).await["order_id"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    }

    pub(crate) async fn order(&self, id: Uuid) -> Value {
        json_of(self.get(&format!("/v1/orders/{id}")).send().await.unwrap()).await
    }

    pub(crate) async fn steps(&self, id: Uuid) -> Vec<String> {
        let timeline = json_of(
            self.get(&format!("/v1/orders/{id}/events"))
                .send()
                .await
                .unwrap(),
        )
        .await;
        let items = timeline["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["step"].as_str().unwrap().to_owned())
            .collect()
    }

    pub(crate) async fn cancel(&self, id: Uuid, reason: &str) -> Response {
        let path = format!("/v1/orders/{id}/cancel");
        self.post(&path)
            .json(&json!({"reason": reason}))
            .send()
            .await
            .unwrap()
    }

    /// The types of an order's outbox rows, in the order in which they will be published.
    pub(crate) async fn sent(&self, id: Uuid) -> Vec<String> {
        let rows: Vec<String> = sqlx::query_scalar(
            "select headers->>'ce_type' from oncebox.outbox where key = convert_to($1, 'UTF8') order by seq",
        )
        .bind(id.to_string())
        .fetch_all(self.db.pool())
        .await
        .unwrap();
        rows.into_iter()
            .map(|name| name.rsplit('.').next().unwrap().to_owned())
            .collect()
    }
}

pub(crate) async fn json_of(response: Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

/// A submission of one line.
pub(crate) fn one_mug() -> Value {
    json!({
        "customer_id": "customer-1",
        "currency": "EUR",
        "lines": [{"product": "mug", "quantity": 2, "unit_price_minor": 450}],
        "total_minor": 900,
        "email": "ada@example.com",
        "payment": {"token": "tok_approved"},
    })
}

/// A delivery as the consumer would hand it over.
pub(crate) fn delivery(reply: impl Into<Reply>) -> Delivery<Reply> {
    testkit::delivery("inventory.events", reply.into())
}

/// Handles a batch as the consumer does: one transaction.
pub(crate) async fn handle(
    service: &Service,
    batch: &[Delivery<Reply>],
) -> Result<(), BatchFailure> {
    testkit::handle(
        service.db.pool(),
        &Replies::new(service.outbox.clone()),
        batch,
    )
    .await
}

pub(crate) fn authorized(order_id: Uuid) -> PaymentAuthorized {
    PaymentAuthorized {
        order_id,
        authorization_id: "auth-1".to_owned(),
    }
}

pub(crate) fn captured(order_id: Uuid) -> PaymentCaptured {
    PaymentCaptured {
        order_id,
        capture_id: "capture-1".to_owned(),
    }
}

pub(crate) fn straight(order_id: Uuid) -> Vec<Delivery<Reply>> {
    vec![
        delivery(StockReserved { order_id }),
        delivery(authorized(order_id)),
        delivery(StockCommitted { order_id }),
        delivery(captured(order_id)),
    ]
}
