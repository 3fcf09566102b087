//! Speaks HTTP to a running platform, as its users do.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::pipeline::{Pipeline, TOKEN};

/// How long an order may take to its end on a busy two-core machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A client of every service.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    order: String,
    inventory: String,
    payment: String,
    notification: String,
    provider: String,
    replayer: String,
}

/// An answer with everything that a test looks at.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: reqwest::header::HeaderMap,
    /// Body, byte for byte.
    pub bytes: Vec<u8>,
}

impl Answer {
    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// The body, when the status is a success.
    pub fn ok(&self) -> Value {
        assert!(
            self.status.is_success(),
            "{}: {}",
            self.status,
            String::from_utf8_lossy(&self.bytes)
        );
        self.json()
    }
}

/// An order for one product at ten a piece.
pub fn one_line(product: &str, quantity: i64, token: &str) -> Value {
    json!({
        "customer_id": "customer-1",
        "email": "someone@example.org",
        "currency": "EUR",
        "total_minor": quantity * 1000,
        "lines": [{ "product": product, "quantity": quantity, "unit_price_minor": 1000 }],
        "payment": { "token": token },
    })
}

/// A product id that no other test uses.
pub fn product(label: &str) -> String {
    format!("{label}-{}", &Uuid::now_v7().simple().to_string()[20..])
}

impl Client {
    pub(crate) fn new(pipeline: &Pipeline) -> Self {
        Self {
            http: reqwest::Client::builder()
                .timeout(Duration::from_secs(40))
                .build()
                .unwrap(),
            order: pipeline.order.url(),
            inventory: pipeline.inventory.url(),
            payment: pipeline.payment.url(),
            notification: pipeline.notification.url(),
            provider: pipeline.provider.url(),
            replayer: pipeline.replayer.url(),
        }
    }

    /// Sends a request and reads the whole answer.
    pub async fn call(
        &self,
        method: Method,
        url: String,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        self.try_call(method, url, headers, body).await.unwrap()
    }

    /// Like [`Client::call`], for a service that may be away.
    pub async fn try_call(
        &self,
        method: Method,
        url: String,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, reqwest::Error> {
        let mut request = self.http.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        Ok(Answer {
            status: response.status(),
            headers: response.headers().clone(),
            bytes: response.bytes().await?.to_vec(),
        })
    }

    async fn get(&self, url: String) -> Value {
        self.call(Method::GET, url, &[], None).await.ok()
    }

    /// Submits an order under a key.
    pub async fn submit_with(&self, key: &str, order: &Value) -> Answer {
        self.call(
            Method::POST,
            format!("{}/v1/orders", self.order),
            &[("idempotency-key", key)],
            Some(order),
        )
        .await
    }

    /// Submits an order and returns its id.
    pub async fn submit(&self, order: &Value) -> String {
        let answer = self.submit_with(&Uuid::new_v4().to_string(), order).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.json());
        answer.json()["order_id"]
            .as_str()
            .expect("an order id")
            .to_owned()
    }

    /// An order as it is now.
    pub async fn order(&self, id: &str) -> Value {
        self.get(format!("{}/v1/orders/{id}", self.order)).await
    }

    /// An order's timeline.
    pub async fn timeline(&self, id: &str) -> Vec<Value> {
        items(
            self.get(format!("{}/v1/orders/{id}/events", self.order))
                .await,
        )
    }

    /// Cancels an order.
    pub async fn cancel(&self, id: &str, reason: &str) -> Answer {
        let body = json!({ "reason": reason });
        self.call(
            Method::POST,
            format!("{}/v1/orders/{id}/cancel", self.order),
            &[],
            Some(&body),
        )
        .await
    }

    /// Waits until an order has a verdict, and returns the order.
    pub async fn verdict(&self, id: &str) -> Value {
        testkit::eventually(&format!("a verdict on order {id}"), PATIENCE, async || {
            let order = self.order(id).await;
            (order["verdict"] != "pending").then_some(order)
        })
        .await
    }

    /// Waits until an order has a verdict and nothing more is to come for it.
    pub async fn settled(&self, id: &str) -> Value {
        testkit::eventually(&format!("order {id} to settle"), PATIENCE, async || {
            let order = self.order(id).await;
            (order["verdict"] != "pending" && order["settled"] == true).then_some(order)
        })
        .await
    }

    /// Puts a product on stock.
    pub async fn stock(&self, product: &str, quantity: i64) {
        let body = json!({ "product": product, "on_hand": quantity });
        self.call(
            Method::POST,
            format!("{}/v1/inventory", self.inventory),
            &[],
            Some(&body),
        )
        .await
        .ok();
    }

    /// A product's stock as it is now.
    pub async fn level(&self, product: &str) -> Value {
        self.get(format!("{}/v1/inventory/{product}", self.inventory))
            .await
    }

    /// An order's reservation, if it ever had one.
    pub async fn reservation(&self, order: &str) -> Value {
        self.call(
            Method::GET,
            format!("{}/v1/reservations/{order}", self.inventory),
            &[],
            None,
        )
        .await
        .json()
    }

    /// Configures a merchant account.
    pub async fn merchant_account(&self, currency: &str) {
        let url = format!("{}/v1/merchant-accounts/{currency}", self.payment);
        let body = json!({ "account": format!("merchant-{currency}") });
        self.call(Method::PUT, url, &[], Some(&body)).await.ok();
    }

    /// An order's payment, if there is one.
    pub async fn payment(&self, order: &str) -> Value {
        self.call(
            Method::GET,
            format!("{}/v1/payments/{order}", self.payment),
            &[],
            None,
        )
        .await
        .json()
    }

    /// How often each operation took effect at the provider for an order.
    pub async fn ledger(&self, order: &str) -> Value {
        self.get(format!("{}/v1/ledger?reference={order}", self.provider))
            .await
    }

    /// Switches the provider's failure mode.
    pub async fn provider_mode(&self, mode: &Value) {
        self.call(
            Method::PUT,
            format!("{}/v1/mode", self.provider),
            &[],
            Some(mode),
        )
        .await
        .ok();
    }

    /// An order's notifications.
    pub async fn notifications(&self, order: &str) -> Vec<Value> {
        items(
            self.get(format!(
                "{}/v1/notifications?order={order}",
                self.notification
            ))
            .await,
        )
    }

    /// Calls the replayer with the token.
    pub async fn replayer(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let authorization = format!("Bearer {TOKEN}");
        self.call(
            method,
            format!("{}{path}", self.replayer),
            &[("authorization", &authorization)],
            body,
        )
        .await
    }

    /// Dead letters of a topic whose record key is that.
    pub async fn dead_letters(&self, topic: &str, key: &str) -> Vec<Value> {
        let path = format!("/v1/dlq/letters?topic={topic}&key={key}");
        items(self.replayer(Method::GET, &path, None).await.ok())
    }

    /// Waits for the dead letter of a key.
    pub async fn dead_letter(&self, topic: &str, key: &str) -> Value {
        testkit::eventually(
            &format!("a dead letter for {key} on {topic}"),
            PATIENCE,
            async || self.dead_letters(topic, key).await.into_iter().next(),
        )
        .await
    }
}

fn items(page: Value) -> Vec<Value> {
    page["items"]
        .as_array()
        .unwrap_or_else(|| panic!("no items in {page}"))
        .clone()
}
