//! What the API shows. Names and units are a contract with clients: add fields, never change one.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::saga::Verdict;
use crate::store::read::{OrderRow, StepRow};

/// An order as it stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Order, example = json!({
    "order_id": "0198c0de-7a11-7000-8000-5f0c4b7e9a21", "customer_id": "customer-1",
    "status": "PAID", "verdict": "confirmed", "settled": true, "stock": "committed", "payment": "captured",
    "currency": "EUR", "total_minor": 900, "email": "ada@example.com",
    "lines": [{"product": "mug", "quantity": 2, "unit_price_minor": 450}],
    "version": 7, "correlation_id": "0198c0de-7a11-7000-8000-000000000001",
    "placed_at": "2026-05-04T10:00:00.000Z", "updated_at": "2026-05-04T10:00:00.180Z",
    "decided_at": "2026-05-04T10:00:00.180Z",
    "links": {
        "self": "/v1/orders/0198c0de-7a11-7000-8000-5f0c4b7e9a21",
        "events": "/v1/orders/0198c0de-7a11-7000-8000-5f0c4b7e9a21/events",
        "cancel": "/v1/orders/0198c0de-7a11-7000-8000-5f0c4b7e9a21/cancel",
        "customer_orders": "/v1/customers/customer-1/orders"
    }
}))]
pub(crate) struct OrderView {
    /// The order's id, and the key of its records in Kafka.
    pub(crate) order_id: Uuid,
    customer_id: String,
    /// `CREATED`, `RESERVED` (stock is held), `AUTHORIZED` (the amount is set aside), `PAID` or `CANCELLED`.
    #[schema(pattern = "^(CREATED|RESERVED|AUTHORIZED|PAID|CANCELLED)$")]
    status: String,
    /// `pending`, `confirmed`, `rejected` (a service refused it) or `cancelled` (it was called off).
    #[schema(pattern = "^(pending|confirmed|rejected|cancelled)$")]
    pub(crate) verdict: String,
    /// Whether nothing is under way any more: paid, or called off with everything given back.
    settled: bool,
    /// Where the stock is: `reserving`, `rejected`, `reserved`, `committing`, `committed`, `releasing` or `released`.
    stock: String,
    /// Where the money is: `not_asked`, `authorizing`, `declined`, `capturing`, `captured`, `voiding`,
    /// `voided` or `refunded`.
    payment: String,
    /// ISO 4217 alphabetic code.
    currency: String,
    /// Sum of the lines, in the currency's minor unit.
    total_minor: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    lines: Vec<LineView>,
    /// Why it was called off: `insufficient_stock`, `payment_declined`, `customer`, `timeout`,
    /// `reservation_lost` or `authorization_lost`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_code: Option<String>,
    /// The same for people to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Rises with every change; also the `ETag`.
    pub(crate) version: i64,
    /// What every record and log line of this order carries.
    correlation_id: String,
    placed_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// When its verdict was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_at: Option<DateTime<Utc>>,
    /// When it will be called off, unless the service that it waits for answers before.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<DateTime<Utc>>,
    links: Links,
}

/// A line of an order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Line)]
pub(crate) struct LineView {
    product: String,
    quantity: i32,
    /// Price of one, in the currency's minor unit.
    unit_price_minor: i64,
}

/// Where to go from here.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Links {
    #[serde(rename = "self")]
    this: String,
    events: String,
    cancel: String,
    customer_orders: String,
}

impl OrderView {
    /// `timeout` is how long an order may wait for an answer.
    pub(crate) fn of(row: OrderRow, timeout: Duration) -> Self {
        let settled = row.saga().is_ok_and(crate::domain::saga::Saga::settled);
        let pending = row.verdict == Verdict::Pending.as_str();
        let this = format!("/v1/orders/{}", row.order_id);
        Self {
            links: Links {
                events: format!("{this}/events"),
                cancel: format!("{this}/cancel"),
                customer_orders: format!("/v1/customers/{}/orders", row.customer_id),
                this,
            },
            order_id: row.order_id,
            customer_id: row.customer_id,
            status: row.status,
            verdict: row.verdict,
            settled,
            stock: row.stock,
            payment: row.payment,
            currency: row.currency,
            total_minor: row.total_minor,
            email: row.email,
            lines: row
                .lines
                .0
                .into_iter()
                .map(|line| LineView {
                    product: line.product,
                    quantity: line.quantity,
                    unit_price_minor: line.unit_price_minor,
                })
                .collect(),
            reason_code: row.reason_code,
            reason: row.reason,
            version: row.version,
            correlation_id: row.correlation,
            placed_at: row.placed_at,
            updated_at: row.updated_at,
            decided_at: row.decided_at,
            expires_at: pending.then(|| row.updated_at + timeout),
        }
    }
}

/// Everything that happened to an order, in order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "order_id": "0198c0de-7a11-7000-8000-5f0c4b7e9a21",
    "items": [
        {"entry": 1, "at": "2026-05-04T10:00:00.000Z", "step": "order.placed", "status": "CREATED",
         "commands": ["ReserveStock"], "cause": {"source": "request"},
         "correlation_id": "0198c0de-7a11-7000-8000-000000000001", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"},
        {"entry": 2, "at": "2026-05-04T10:00:00.060Z", "step": "stock.reserved", "status": "RESERVED",
         "commands": ["AuthorizePayment"],
         "cause": {"source": "event", "event_id": "0198c0de-7a4d-7000-8000-000000000002",
                   "event_type": "oncebox.inventory.StockReserved"},
         "correlation_id": "0198c0de-7a11-7000-8000-000000000001", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}
    ]
}))]
pub(crate) struct Timeline {
    pub(crate) order_id: Uuid,
    pub(crate) items: Vec<StepView>,
}

/// One thing that happened to an order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Step)]
pub(crate) struct StepView {
    /// Position in the timeline, from 1.
    entry: i64,
    at: DateTime<Utc>,
    /// What happened, such as `stock.reserved` or `order.cancelled`.
    step: String,
    /// The order's status from then on.
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// What other services were asked to do.
    commands: Vec<String>,
    cause: CauseView,
    /// The same in every record and log line that follows from one request.
    correlation_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

/// Why it happened.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CauseView {
    /// `request` (HTTP), `event` (a record) or `clock` (waited too long).
    source: String,
    /// The record's event id.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<Uuid>,
    /// The record's type.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_type: Option<String>,
}

impl From<StepRow> for StepView {
    fn from(row: StepRow) -> Self {
        Self {
            entry: row.entry,
            at: row.at,
            step: row.step,
            status: row.status,
            detail: row.detail,
            commands: row.commands,
            cause: CauseView {
                source: row.source,
                event_id: row.cause_event_id,
                event_type: row.cause_type,
            },
            correlation_id: row.correlation,
            trace_id: row.trace_id,
        }
    }
}
