//! A database and topics of the test's own, for the service to run in.

use std::time::Duration;

use inventory::{Settings, store};
use oncebox::codec::Registry;
use oncebox::{Codec, Event, EventId, Headers};
use reqwest::{Method, RequestBuilder};
use schemas::inventory::{CommitStock, ReserveStock, StockLine};
use serde_json::Value;
use testkit::TestDb;
use testkit::kafka::Sender;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) db: TestDb,
    pub(crate) prefix: String,
    codec: Codec,
    sender: Sender,
}

impl World {
    pub(crate) async fn new(label: &str) -> Self {
        let db = TestDb::empty(&format!("inventory_{label}")).await;
        store::migrate(db.pool()).await.unwrap();
        let registry = Registry::new(&testkit::registry_address()).unwrap();
        schemas::registration::register_all(&registry)
            .await
            .unwrap();
        let codec = Codec::new(&testkit::registry_address(), Some(db.pool().clone())).unwrap();
        let prefix = testkit::topic_prefix();
        let topics = ["inventory.commands", "inventory.commands.inventory.replay"]
            .map(|topic| format!("{prefix}{topic}"));
        testkit::kafka::create_topics(&topics.each_ref().map(String::as_str), 3).await;
        Self {
            db,
            prefix,
            codec,
            sender: Sender::new(),
        }
    }

    /// The defaults, in this world.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings: Settings = toml::from_str(inventory::DEFAULTS).unwrap();
        settings.http_address = "127.0.0.1:0".into();
        settings.database_url = self.db.url().to_owned();
        settings.kafka = testkit::kafka_address();
        settings.schema_registry = testkit::registry_address();
        settings.topic_prefix.clone_from(&self.prefix);
        settings.log_filter = "warn".into();
        settings
    }

    /// Starts an instance of the service.
    pub(crate) async fn start(&self) -> Instance {
        let stop = CancellationToken::new();
        let running = inventory::start(self.settings(), stop.clone())
            .await
            .unwrap();
        Instance {
            url: format!("http://{}", running.address()),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            stop,
            done: tokio::spawn(running.finished()),
        }
    }

    pub(crate) async fn reserve(&self, order_id: Uuid, lines: &[(&str, i32)]) -> EventId {
        self.send(EventId::new(), &reserve(order_id, lines)).await
    }

    pub(crate) async fn commit(&self, order_id: Uuid) -> EventId {
        self.send(EventId::new(), &CommitStock { order_id }).await
    }

    /// Sends a command as the relay does.
    pub(crate) async fn send<E: Event>(&self, id: EventId, event: &E) -> EventId {
        self.send_to("inventory.commands", id, event).await
    }

    pub(crate) async fn send_to<E: Event>(&self, topic: &str, id: EventId, event: &E) -> EventId {
        let value = self.codec.encode(event).await.unwrap();
        let mut headers = Headers::new();
        headers.push("id", id.to_string());
        let topic = format!("{}{topic}", self.prefix);
        let key = event.key();
        self.sender
            .send(&topic, None, Some(key.as_bytes()), Some(&value), &headers)
            .await;
        id
    }

    /// Topic and type of what a command led to, in order.
    pub(crate) async fn led_to(&self, command: EventId) -> Vec<(String, String)> {
        sqlx::query_as(
            "select topic, coalesce(headers->>'ce_type', '') from oncebox.outbox
             where headers->>'oncebox-causation-id' = $1 or headers->>'id' = $1 order by seq",
        )
        .bind(command.to_string())
        .fetch_all(self.db.pool())
        .await
        .unwrap()
    }

    /// How many answers there are.
    pub(crate) async fn answers(&self) -> i64 {
        sqlx::query_scalar("select count(*) from oncebox.outbox where topic = $1")
            .bind(format!("{}inventory.events", self.prefix))
            .fetch_one(self.db.pool())
            .await
            .unwrap()
    }

    /// How many events the consumer has finished with.
    pub(crate) async fn finished(&self) -> i64 {
        sqlx::query_scalar("select count(*) from oncebox.inbox")
            .fetch_one(self.db.pool())
            .await
            .unwrap()
    }
}

pub(crate) fn reserve(order_id: Uuid, lines: &[(&str, i32)]) -> ReserveStock {
    let lines = lines.iter().map(|(product, quantity)| StockLine {
        product: (*product).to_owned(),
        quantity: *quantity,
    });
    ReserveStock {
        order_id,
        lines: lines.collect(),
    }
}

/// A running instance.
pub(crate) struct Instance {
    url: String,
    http: reqwest::Client,
    stop: CancellationToken,
    done: JoinHandle<anyhow::Result<()>>,
}

impl Instance {
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// Status and JSON body of an answer.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.ask(Method::GET, path, None).await
    }

    pub(crate) async fn stock(&self, product: &str, on_hand: i64) {
        let body = serde_json::json!({ "product": product, "on_hand": on_hand });
        let (status, answer) = self.ask(Method::POST, "/v1/inventory", Some(body)).await;
        assert_eq!(status, 201, "{answer}");
    }

    /// on hand, reserved, available
    pub(crate) async fn levels(&self, product: &str) -> [i64; 3] {
        let (status, stock) = self.get(&format!("/v1/inventory/{product}")).await;
        assert_eq!(status, 200, "{stock}");
        ["on_hand", "reserved", "available"].map(|field| stock[field].as_i64().unwrap())
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.done.await.unwrap().unwrap();
    }
}
