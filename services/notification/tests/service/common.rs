//! The handler on a database of the test's own, outcomes to give to it, and what it leaves behind.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use notification::handlers::{Notifications, OrderOutcome};
use notification::mailer::{Mailer, Server};
use notification::store::read::Row;
use oncebox::{BatchFailure, BatchHandler, Codec, Delivery, ErrorClass, Failure, Outbox};
use schemas::order::{OrderCancelled, OrderConfirmed};
use serde_json::Value;
use testkit::TestDb;
use uuid::Uuid;

/// The handler as the consumer uses it.
pub(crate) struct Handling {
    pub(crate) db: TestDb,
    codec: Codec,
    handler: Notifications,
    timeout: Duration,
}

/// Longer than any answer takes on a busy machine: what is not about silence must not depend on the time.
const PATIENT: Duration = Duration::from_secs(10);
/// For tests in which the server says nothing.
const HURRIED: Duration = Duration::from_secs(2);

impl Handling {
    /// With the mail server at `smtp_url`, or without one when it is empty.
    pub(crate) async fn new(label: &str, smtp_url: &str) -> Self {
        Self::with_timeout(label, smtp_url, PATIENT).await
    }

    /// The same, for a mail server that will say nothing for a while.
    pub(crate) async fn hurried(label: &str, smtp_url: &str) -> Self {
        Self::with_timeout(label, smtp_url, HURRIED).await
    }

    async fn with_timeout(label: &str, smtp_url: &str, timeout: Duration) -> Self {
        let db = TestDb::empty(label).await;
        notification::store::migrate(db.pool()).await.unwrap();
        let codec = Codec::new(&testkit::registry_address(), Some(db.pool().clone())).unwrap();
        let handler = handler(&db, &codec, smtp_url, timeout);
        Self {
            db,
            codec,
            handler,
            timeout,
        }
    }

    /// The same database after a restart with another mail server.
    pub(crate) fn reconfigure(&mut self, smtp_url: &str) {
        self.handler = handler(&self.db, &self.codec, smtp_url, self.timeout);
    }

    pub(crate) async fn prepare(
        &self,
        batch: &[Delivery<OrderOutcome>],
    ) -> Result<(), BatchFailure> {
        self.handler.prepare(batch).await
    }

    /// Both phases, committed: what the consumer does with a batch that nobody has handled before.
    pub(crate) async fn process(
        &self,
        batch: &[Delivery<OrderOutcome>],
    ) -> Result<(), BatchFailure> {
        self.handler.prepare(batch).await?;
        let mut tx = self.db.pool().begin().await.unwrap();
        self.handler.handle(&mut tx, batch).await?;
        tx.commit().await.unwrap();
        Ok(())
    }

    /// The second phase in a transaction that does not commit.
    pub(crate) async fn handle_in_vain(&self, batch: &[Delivery<OrderOutcome>]) {
        let mut tx = self.db.pool().begin().await.unwrap();
        self.handler.handle(&mut tx, batch).await.unwrap();
        tx.rollback().await.unwrap();
    }

    /// The only notification of an order.
    pub(crate) async fn row(&self, order: Uuid) -> Row {
        let filter = notification::store::read::Filter {
            order: Some(order),
            ..Default::default()
        };
        let rows = notification::store::read::list(self.db.pool(), &filter, None, 10)
            .await
            .unwrap();
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.into_iter().next().unwrap()
    }

    /// The events of an order, decoded: name and fields, in the order of publication.
    pub(crate) async fn events(&self, order: Uuid) -> Vec<(String, Value)> {
        let payloads: Vec<Vec<u8>> = sqlx::query_scalar(
            "select payload from oncebox.outbox where key = convert_to($1, 'UTF8') order by seq",
        )
        .bind(order.to_string())
        .fetch_all(self.db.pool())
        .await
        .unwrap();
        let mut events = Vec::new();
        for payload in payloads {
            let decoded = self.codec.decode_json(Some(&payload)).await.unwrap();
            events.push((decoded.name, decoded.json));
        }
        events
    }
}

fn handler(db: &TestDb, codec: &Codec, smtp_url: &str, timeout: Duration) -> Notifications {
    let mailer = (!smtp_url.is_empty()).then(|| {
        let from = "Shop <orders@shop.example>".parse().unwrap();
        let server = Server::parse(smtp_url).unwrap();
        Arc::new(Mailer::new(server, from, timeout))
    });
    let outbox = Outbox::new(codec.clone(), "notification", "");
    let pool = db.pool().clone();
    Notifications::new(pool, outbox, mailer, 4, timeout)
}

pub(crate) fn confirmed(email: Option<&str>) -> OrderConfirmed {
    OrderConfirmed {
        order_id: Uuid::now_v7(),
        customer_id: "customer-1".to_owned(),
        total_minor: 1_250,
        currency: "EUR".to_owned(),
        email: email.map(str::to_owned),
        confirmed_at: Utc::now(),
    }
}

pub(crate) fn cancelled(email: Option<&str>) -> OrderCancelled {
    OrderCancelled {
        order_id: Uuid::now_v7(),
        customer_id: "customer-1".to_owned(),
        email: email.map(str::to_owned),
        reason_code: "insufficient_stock".to_owned(),
        reason: "insufficient stock for product mug (wanted 2, available 1)".to_owned(),
        cancelled_at: Utc::now(),
    }
}

/// A delivery as the consumer would hand it over, with an event id of its own.
pub(crate) fn delivery(outcome: impl Into<OrderOutcome>) -> Delivery<OrderOutcome> {
    testkit::delivery("order.events", outcome.into())
}

/// The only record to blame: its index and how it failed.
pub(crate) fn to_blame(result: Result<(), BatchFailure>) -> (usize, Failure) {
    match result {
        Err(BatchFailure::Records(failures)) if failures.len() == 1 => {
            failures.into_iter().next().unwrap()
        }
        other => panic!("expected one record to blame, got {other:?}"),
    }
}

/// The code of the outage that the whole batch waits for.
pub(crate) fn outage(result: Result<(), BatchFailure>) -> &'static str {
    match result {
        Err(BatchFailure::Whole(failure)) if failure.class == ErrorClass::Outage => failure.code,
        other => panic!("expected an outage, got {other:?}"),
    }
}
