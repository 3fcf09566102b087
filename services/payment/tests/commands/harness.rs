//! A payment handler on a real database with a real provider, and what a consumer does with it.

use std::sync::Arc;
use std::time::Duration;

use oncebox::codec::Registry;
use oncebox::{
    BatchFailure, BatchHandler, Codec, Delivery, EventId, Failure, Headers, Outbox, Record,
};
use payment::domain::account::AccountName;
use payment::domain::circuit::Limits;
use payment::domain::money::Currency;
use payment::handlers::Payments;
use payment::provider::{Provider, ProviderSettings};
use payment::store;
use schemas::PaymentCommand;
use schemas::payment::{AuthorizePayment, CapturePayment, VoidPayment};
use serde_json::{Value, json};
use testkit::{Proxy, TestDb};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) struct Fixture {
    pub(crate) db: TestDb,
    pub(crate) codec: Codec,
    /// Between the handler and the provider.
    pub(crate) proxy: Proxy,
    /// The provider itself, past the proxy.
    pub(crate) provider_url: String,
    pub(crate) payments: Payments,
    http: reqwest::Client,
    _ledger: tempfile::TempDir,
    _shutdown: tokio_util::sync::DropGuard,
}

/// How the handler treats the provider.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) timeout_ms: u64,
    pub(crate) circuit_failures: usize,
    pub(crate) circuit_open_ms: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            // Long enough for a busy machine; where an answer is to be lost, a test says how long it waits.
            timeout_ms: 10_000,
            circuit_failures: 1000,
            circuit_open_ms: 200,
        }
    }
}

impl Fixture {
    pub(crate) async fn new(label: &str) -> Self {
        Self::with(label, Patience::default()).await
    }

    pub(crate) async fn with(label: &str, patience: Patience) -> Self {
        let db = TestDb::empty(&format!("payment_{label}")).await;
        store::migrate(db.pool()).await.unwrap();
        for currency in ["EUR", "USD"] {
            let account = AccountName::new("acme").unwrap();
            store::accounts::put(db.pool(), &Currency::new(currency).unwrap(), &account)
                .await
                .unwrap();
        }
        let registry = Registry::new(&testkit::registry_address()).unwrap();
        schemas::registration::register_all(&registry)
            .await
            .unwrap();
        let codec = Codec::new(&testkit::registry_address(), Some(db.pool().clone())).unwrap();

        let ledger = tempfile::tempdir().unwrap();
        let shutdown = CancellationToken::new();
        let settings = payment_provider::Settings {
            http_address: "127.0.0.1:0".into(),
            ledger_file: ledger
                .path()
                .join("ledger.jsonl")
                .to_string_lossy()
                .into_owned(),
            hang_ms: 30_000,
            log_format: telemetry::LogFormat::Auto,
            log_filter: "off".into(),
        };
        let bound = payment_provider::bind(settings, shutdown.clone())
            .await
            .unwrap();
        let address = bound.local_addr().unwrap();
        tokio::spawn(async move { bound.serve().await.unwrap() });
        let proxy = Proxy::to(&address.to_string()).await;
        let payments = handler(
            &db,
            &codec,
            &format!("http://{}", proxy.address()),
            patience,
        );
        Self {
            db,
            codec,
            proxy,
            provider_url: format!("http://{address}"),
            payments,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            _ledger: ledger,
            _shutdown: shutdown.drop_guard(),
        }
    }

    /// Another process on the same database: it remembers nothing but what is stored.
    pub(crate) fn restarted(&self, patience: Patience) -> Payments {
        handler(
            &self.db,
            &self.codec,
            &format!("http://{}", self.proxy.address()),
            patience,
        )
    }

    /// Both phases, as the consumer runs them.
    pub(crate) async fn deliver(&self, commands: &[PaymentCommand]) -> Result<(), BatchFailure> {
        self.deliver_to(&self.payments, commands).await
    }

    pub(crate) async fn deliver_to(
        &self,
        payments: &Payments,
        commands: &[PaymentCommand],
    ) -> Result<(), BatchFailure> {
        let batch = deliveries(commands);
        payments.prepare(&batch).await?;
        let mut tx = self.db.pool().begin().await.unwrap();
        payments.handle(&mut tx, &batch).await?;
        tx.commit().await.unwrap();
        Ok(())
    }

    /// Delivers one command until it goes through, as the consumer's retries do. Returns the failures on the way.
    pub(crate) async fn persist(&self, command: PaymentCommand) -> Vec<Failure> {
        let mut failures = Vec::new();
        loop {
            match self.deliver(std::slice::from_ref(&command)).await {
                Ok(()) => return failures,
                Err(failure) => failures.push(only(failure)),
            }
            assert!(failures.len() < 50, "{failures:?}");
        }
    }

    /// Delivers one command that must fail.
    pub(crate) async fn refused(&self, command: PaymentCommand) -> Failure {
        only(self.deliver(&[command]).await.unwrap_err())
    }

    /// Type and content of the answers for an order, oldest first.
    pub(crate) async fn answers(&self, order: Uuid) -> Vec<(String, Value)> {
        let payloads: Vec<Vec<u8>> =
            sqlx::query_scalar("select payload from oncebox.outbox where key = $1 order by seq")
                .bind(order.to_string().into_bytes())
                .fetch_all(self.db.pool())
                .await
                .unwrap();
        let mut answers = Vec::new();
        for payload in payloads {
            let decoded = self.codec.decode_json(Some(&payload)).await.unwrap();
            answers.push((
                decoded.name.rsplit('.').next().unwrap().to_owned(),
                decoded.json,
            ));
        }
        answers
    }

    pub(crate) async fn answer_types(&self, order: Uuid) -> Vec<String> {
        self.answers(order)
            .await
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    }

    /// What the provider did and was asked for this order.
    pub(crate) async fn ledger(&self, order: Uuid) -> Value {
        self.get(&format!("/v1/ledger?reference={order}")).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.http
            .get(format!("{}{path}", self.provider_url))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    /// Switches the provider's failure mode.
    pub(crate) async fn mode(&self, mode: Value) {
        let answer = self
            .http
            .put(format!("{}/v1/mode", self.provider_url))
            .json(&mode)
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success());
    }

    pub(crate) async fn state(&self, order: Uuid) -> String {
        let order = payment::domain::operation::OrderId(order);
        store::queries::payment(self.db.pool(), order)
            .await
            .unwrap()
            .unwrap()
            .state
    }

    /// Effects at the provider: authorised, captured, voided, refunded.
    pub(crate) async fn effects(&self, order: Uuid) -> [u64; 4] {
        counts(&self.ledger(order).await["effects"])
    }

    pub(crate) async fn calls(&self, order: Uuid) -> [u64; 4] {
        counts(&self.ledger(order).await["calls"])
    }
}

fn counts(counts: &Value) -> [u64; 4] {
    ["authorize", "capture", "void", "refund"].map(|operation| counts[operation].as_u64().unwrap())
}

fn handler(db: &TestDb, codec: &Codec, url: &str, patience: Patience) -> Payments {
    let settings = ProviderSettings {
        url: url.into(),
        timeout: Duration::from_millis(patience.timeout_ms),
        circuit: Limits {
            failures: patience.circuit_failures,
            open_for: Duration::from_millis(patience.circuit_open_ms),
        },
    };
    let provider = Arc::new(Provider::new(settings).unwrap());
    Payments::new(
        db.pool().clone(),
        Outbox::new(codec.clone(), "payment", ""),
        provider,
        16,
    )
}

pub(crate) fn only(failure: BatchFailure) -> Failure {
    match failure {
        BatchFailure::Records(mut records) if records.len() == 1 => records.remove(0).1,
        BatchFailure::Whole(outage) if outage.class == oncebox::ErrorClass::Outage => outage,
        other => panic!("neither one record's failure nor an outage: {other:?}"),
    }
}

/// Each command as a record of its own, with an event id that was never seen.
pub(crate) fn deliveries(commands: &[PaymentCommand]) -> Vec<Delivery<PaymentCommand>> {
    let delivery = |(offset, command): (usize, &PaymentCommand)| Delivery {
        message: copy(command),
        event_id: EventId::new(),
        record: Record {
            topic: "payment.commands".into(),
            partition: 0,
            offset: i64::try_from(offset).unwrap(),
            timestamp: None,
            key: Some(command.order_id().to_string().into()),
            value: None,
            headers: Headers::new(),
        },
    };
    commands.iter().enumerate().map(delivery).collect()
}

pub(crate) fn copy(command: &PaymentCommand) -> PaymentCommand {
    match command {
        PaymentCommand::AuthorizePayment(event) => event.clone().into(),
        PaymentCommand::CapturePayment(event) => event.clone().into(),
        PaymentCommand::VoidPayment(event) => event.clone().into(),
    }
}

pub(crate) fn order() -> Uuid {
    Uuid::now_v7()
}

pub(crate) fn authorize(order_id: Uuid, token: &str) -> PaymentCommand {
    authorize_in(order_id, token, "EUR")
}

pub(crate) fn authorize_in(order_id: Uuid, token: &str, currency: &str) -> PaymentCommand {
    AuthorizePayment {
        order_id,
        customer_id: "customer-1".into(),
        amount_minor: 1250,
        currency: currency.into(),
        payment_token: token.into(),
    }
    .into()
}

pub(crate) fn capture(order_id: Uuid) -> PaymentCommand {
    CapturePayment { order_id }.into()
}

pub(crate) fn void(order_id: Uuid) -> PaymentCommand {
    VoidPayment {
        order_id,
        reason: "the customer changed their mind".into(),
    }
    .into()
}

pub(crate) fn voided(order: Uuid, refunded: bool) -> (String, Value) {
    (
        "PaymentVoided".into(),
        json!({"order_id": order.to_string(), "refunded": refunded}),
    )
}
