//! A database, topics and a provider of the test's own, for the service to run in.

use oncebox::codec::Registry;
use oncebox::{Codec, Event, EventId, Headers};
use payment::Settings;
use payment::domain::account::AccountName;
use payment::domain::money::Currency;
use payment::store;
use schemas::payment::{AuthorizePayment, CapturePayment};
use serde_json::Value;
use testkit::TestDb;
use testkit::kafka::Sender;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

pub(crate) struct World {
    pub(crate) db: TestDb,
    pub(crate) prefix: String,
    pub(crate) provider_url: String,
    pub(crate) http: reqwest::Client,
    codec: Codec,
    sender: Sender,
    _ledger: tempfile::TempDir,
    _provider: DropGuard,
}

impl World {
    pub(crate) async fn new(label: &str) -> Self {
        let db = TestDb::empty(&format!("payment_{label}")).await;
        store::migrate(db.pool()).await.unwrap();
        let (euro, account) = (
            Currency::new("EUR").unwrap(),
            AccountName::new("acme-eur").unwrap(),
        );
        store::accounts::put(db.pool(), &euro, &account)
            .await
            .unwrap();
        let registry = Registry::new(&testkit::registry_address()).unwrap();
        schemas::registration::register_all(&registry)
            .await
            .unwrap();
        let codec = Codec::new(&testkit::registry_address(), Some(db.pool().clone())).unwrap();
        let prefix = testkit::topic_prefix();
        let topics = ["payment.commands", "payment.commands.payment.replay"]
            .map(|topic| format!("{prefix}{topic}"));
        testkit::kafka::create_topics(&topics.each_ref().map(String::as_str), 3).await;

        let ledger = tempfile::tempdir().unwrap();
        let shutdown = CancellationToken::new();
        let provider = payment_provider::Settings {
            http_address: "127.0.0.1:0".into(),
            ledger_file: ledger
                .path()
                .join("ledger.jsonl")
                .to_string_lossy()
                .into_owned(),
            hang_ms: 30_000,
            log_format: telemetry::LogFormat::Auto,
            log_filter: "warn".into(),
        };
        let bound = payment_provider::bind(provider, shutdown.clone())
            .await
            .unwrap();
        let provider_url = format!("http://{}", bound.local_addr().unwrap());
        tokio::spawn(async move { bound.serve().await.unwrap() });
        Self {
            db,
            prefix,
            provider_url,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            codec,
            sender: Sender::new(),
            _ledger: ledger,
            _provider: shutdown.drop_guard(),
        }
    }

    /// The defaults, in this world.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings: Settings = toml::from_str(payment::DEFAULTS).unwrap();
        settings.http_address = "127.0.0.1:0".into();
        settings.database_url = self.db.url().to_owned();
        settings.kafka = testkit::kafka_address();
        settings.schema_registry = testkit::registry_address();
        settings.topic_prefix.clone_from(&self.prefix);
        settings.provider_url.clone_from(&self.provider_url);
        settings.log_filter = "warn".into();
        settings
    }

    pub(crate) async fn authorize(&self, order_id: Uuid, token: &str, currency: &str) -> EventId {
        let command = AuthorizePayment {
            order_id,
            customer_id: "customer-1".into(),
            amount_minor: 1250,
            currency: currency.into(),
            payment_token: token.into(),
        };
        self.send("payment.commands", EventId::new(), &command)
            .await
    }

    pub(crate) async fn capture(&self, order_id: Uuid) -> EventId {
        self.send(
            "payment.commands",
            EventId::new(),
            &CapturePayment { order_id },
        )
        .await
    }

    /// Sends a command as the relay does.
    pub(crate) async fn send<E: Event>(&self, topic: &str, id: EventId, event: &E) -> EventId {
        let value = self.codec.encode(event).await.unwrap();
        let mut headers = Headers::new();
        headers.push("id", id.to_string());
        let topic = format!("{}{topic}", self.prefix);
        self.sender
            .send(
                &topic,
                None,
                Some(event.key().as_bytes()),
                Some(&value),
                &headers,
            )
            .await;
        id
    }

    /// Topic and status header of the outbox rows that a command led to.
    pub(crate) async fn led_to(&self, command: EventId) -> Vec<String> {
        sqlx::query_scalar(
            "select topic from oncebox.outbox
             where headers->>'oncebox-causation-id' = $1 or headers->>'id' = $1 order by seq",
        )
        .bind(command.to_string())
        .fetch_all(self.db.pool())
        .await
        .unwrap()
    }

    pub(crate) async fn answers(&self) -> i64 {
        sqlx::query_scalar("select count(*) from oncebox.outbox where topic = $1")
            .bind(format!("{}payment.events", self.prefix))
            .fetch_one(self.db.pool())
            .await
            .unwrap()
    }

    pub(crate) async fn ledger(&self) -> Value {
        let answer = self
            .http
            .get(format!("{}/v1/ledger", self.provider_url))
            .send()
            .await
            .unwrap();
        answer.json().await.unwrap()
    }
}
