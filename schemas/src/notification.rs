//! Events of the notification service.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A message went out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationSent {
    /// The message.
    pub notification_id: Uuid,
    /// The order, which is also the record's key.
    pub order_id: Uuid,
    /// email or log.
    pub channel: String,
    /// Address, or empty for the log channel.
    pub recipient: String,
    /// Which text was sent.
    pub template: String,
}

/// A message could not be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationFailed {
    /// The message.
    pub notification_id: Uuid,
    /// The order, which is also the record's key.
    pub order_id: Uuid,
    /// email or log.
    pub channel: String,
    /// Address, or empty for the log channel.
    pub recipient: String,
    /// Which text should have been sent.
    pub template: String,
    /// Why it was not.
    pub error: String,
}

oncebox::event! {
    NotificationSent = "oncebox.notification.NotificationSent" on "notification.events" keyed by |event| event.order_id.to_string(),
    schema include_str!("../avro/oncebox.notification.NotificationSent.avsc")
}
oncebox::event! {
    NotificationFailed = "oncebox.notification.NotificationFailed" on "notification.events" keyed by |event| event.order_id.to_string(),
    schema include_str!("../avro/oncebox.notification.NotificationFailed.avsc")
}
