//! What is worth a log line and a metric, each in one place. Addresses are masked, texts are left out.

use std::time::Duration;

use uuid::Uuid;

use crate::domain::{Channel, Letter, Recipient, Template};
use crate::mailer::NotSent;

/// The mail server took a message over.
pub(crate) struct MessageSent<'a> {
    pub(crate) id: Uuid,
    pub(crate) order: Uuid,
    pub(crate) template: Template,
    pub(crate) recipient: &'a Recipient,
    pub(crate) took: Duration,
}

impl telemetry::Happening for MessageSent<'_> {
    fn emit(self) {
        let template = self.template.as_str();
        tracing::info!(
            notification_id = %self.id, order_id = %self.order, template, recipient = %self.recipient,
            duration_ms = self.took.as_millis(), "message sent"
        );
        metrics::histogram!("oncebox_notification_smtp_duration_seconds")
            .record(self.took.as_secs_f64());
        sent(Channel::Email, template);
    }
}

/// A message went to the log channel, because there is no mail server or no address.
pub(crate) struct MessageLogged<'a> {
    pub(crate) id: Uuid,
    pub(crate) order: Uuid,
    pub(crate) recipient: Option<&'a Recipient>,
    pub(crate) letter: &'a Letter,
}

impl telemetry::Happening for MessageLogged<'_> {
    fn emit(self) {
        let template = self.letter.template.as_str();
        let recipient = self.recipient.map(tracing::field::display);
        tracing::info!(
            notification_id = %self.id, order_id = %self.order, template, recipient,
            "message written to the log channel"
        );
        tracing::debug!(
            notification_id = %self.id, subject = self.letter.subject, text = self.letter.text, "message text"
        );
        sent(Channel::Log, template);
    }
}

fn sent(channel: Channel, template: &'static str) {
    metrics::counter!("oncebox_notification_sent_total", "channel" => channel.as_str(), "template" => template)
        .increment(1);
}

/// A message did not go out. What becomes a failure of its record is logged by the consumer, which knows what happens
/// next; a refusal ends here.
pub(crate) struct MessageNotSent<'a> {
    pub(crate) id: Uuid,
    pub(crate) order: Uuid,
    pub(crate) template: Template,
    pub(crate) recipient: &'a Recipient,
    pub(crate) error: &'a NotSent,
}

impl telemetry::Happening for MessageNotSent<'_> {
    fn emit(self) {
        let (template, error) = (self.template.as_str(), self.error);
        let code = oncebox::Classify::code(error);
        if error.is_refusal() {
            tracing::warn!(
                notification_id = %self.id, order_id = %self.order, template, recipient = %self.recipient, %error, code,
                "message refused for good"
            );
        }
        metrics::counter!("oncebox_notification_not_sent_total", "code" => code, "template" => template)
            .increment(1);
    }
}
