//! What the API shows. Names are a contract with clients: add fields, never change one.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::store::read::Row;

/// A notification as it stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Notification, example = json!({
    "notification_id": "0198c0de-7a4d-7000-8000-000000000007",
    "order_id": "0198c0de-7a11-7000-8000-5f0c4b7e9a21",
    "channel": "email", "recipient": "ada@example.com", "template": "order_confirmed",
    "subject": "Your order 0198c0de-7a11-7000-8000-5f0c4b7e9a21 is confirmed",
    "status": "sent", "attempts": 1, "error": null,
    "created_at": "2026-05-04T10:00:00.180Z", "sent_at": "2026-05-04T10:00:00.250Z"
}))]
pub(super) struct NotificationView {
    notification_id: Uuid,
    order_id: Uuid,
    /// `email`, or `log` where there is no mail server or the order stated no address.
    #[schema(pattern = "^(email|log)$")]
    channel: String,
    /// The address that the order stated; empty when it stated none.
    recipient: String,
    /// Which text: `order_confirmed` or `order_cancelled`.
    #[schema(pattern = "^(order_confirmed|order_cancelled)$")]
    template: String,
    subject: String,
    /// `pending` (not out yet), `sent` (the mail server took it over) or `failed` (it refused it for good).
    #[schema(pattern = "^(pending|sent|failed)$")]
    status: String,
    /// How often it was tried; tries that met an outage are not counted.
    attempts: i32,
    /// What was in the way the last time; null when nothing was.
    error: Option<String>,
    created_at: DateTime<Utc>,
    /// Null until it is sent.
    sent_at: Option<DateTime<Utc>>,
}

impl From<Row> for NotificationView {
    fn from(row: Row) -> Self {
        Self {
            notification_id: row.id,
            order_id: row.order_id,
            channel: row.channel,
            recipient: row.recipient,
            template: row.template,
            subject: row.subject,
            status: row.status,
            attempts: row.attempts,
            error: row.error,
            created_at: row.created_at,
            sent_at: row.sent_at,
        }
    }
}
