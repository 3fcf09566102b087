//! One dead letter: the record, why it is given up, and the outbox row that both become.

use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

use super::{cut, names};
use crate::event::EventId;
use crate::failure::Failure;
use crate::outbox::OutboxRow;
use crate::record::Record;

/// Longest error message in a header. The texts that are added must always fit beside a whole foreign record.
const MESSAGE_LIMIT: usize = 4 * 1024;
/// Longest of the shorter texts.
const SHORT_LIMIT: usize = 256;

/// A record that is given up.
#[derive(Debug)]
pub(crate) struct Letter<'a> {
    pub(crate) record: &'a Record,
    /// Identity in the inbox.
    pub(crate) event_id: Uuid,
    pub(crate) failure: &'a Failure,
    pub(crate) attempts: u32,
    pub(crate) first_failed_at: DateTime<Utc>,
}

impl Letter<'_> {
    /// The row for the group's dead-letter topic.
    pub(crate) fn row(&self, group: &str, version: &str, now: DateTime<Utc>) -> OutboxRow {
        let record = self.record;
        let origin = super::replayed_topic(&record.topic, group).unwrap_or(&record.topic);
        let mut headers = record.headers.clone();
        headers.set(names::TOPIC, record.topic.as_str());
        headers.set(names::PARTITION, record.partition.to_string());
        headers.set(names::OFFSET, record.offset.to_string());
        headers.set(names::GROUP, group);
        headers.set(names::DELIVERY_COUNT, self.attempts.to_string());
        headers.set(names::MESSAGE, cut(&self.failure.message, MESSAGE_LIMIT));
        headers.set(names::ERROR_CLASS, self.failure.class.as_str());
        headers.set(names::ERROR_CODE, cut(self.failure.code, SHORT_LIMIT));
        headers.set(names::ERROR_SITE, cut(&self.failure.site, SHORT_LIMIT));
        headers.set(names::FIRST_FAILED_AT, instant(self.first_failed_at));
        headers.set(names::LAST_FAILED_AT, instant(now));
        headers.set(names::SERVICE_VERSION, cut(version, SHORT_LIMIT));
        // Without it the replay of a record that has no id of its own would be a new event each time.
        if record.header_event_id().map(|id| id.as_uuid()) != Some(self.event_id) {
            headers.set(names::EVENT_ID, self.event_id.to_string());
        }
        OutboxRow {
            event_id: EventId::new(),
            topic: super::topic(origin, group),
            key: record.key.clone(),
            payload: record.value.clone(),
            headers,
        }
    }
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::ErrorClass;
    use crate::headers::Headers;

    #[test]
    fn everything_of_the_record_stays_and_the_errors_are_added() {
        let mut headers = Headers::new();
        headers.push("mine", vec![0xff]);
        headers.push("mine", "twice");
        headers.push("id", "018f0000-0000-7000-8000-000000000001");
        let record = Record {
            topic: "p.order.events.mail.replay".into(),
            partition: 3,
            offset: 7,
            timestamp: None,
            key: Some("k".into()),
            value: None,
            headers,
        };
        let failure = Failure::new(ErrorClass::Permanent, "mail.refused", "x".repeat(10_000));
        let letter = Letter {
            record: &record,
            event_id: record.event_id().as_uuid(),
            failure: &failure,
            attempts: 1,
            first_failed_at: DateTime::UNIX_EPOCH,
        };
        let row = letter.row("mail", "1.2.3", Utc::now());
        assert_eq!(
            row.topic, "p.order.events.mail.dlq",
            "a failed replay comes back to the same topic"
        );
        assert_eq!((row.key, row.payload), (record.key.clone(), None));
        let original: Vec<_> = record.headers.iter().collect();
        assert_eq!(row.headers.iter().take(3).collect::<Vec<_>>(), original);
        assert_eq!(
            row.headers.get_str(names::FIRST_FAILED_AT),
            Some("1970-01-01T00:00:00.000Z")
        );
        assert_eq!(row.headers.get_str(names::OFFSET), Some("7"));
        assert!(row.headers.get(names::EVENT_ID).is_none());
        assert!(row.headers.get(names::MESSAGE).unwrap().len() < 5_000);
    }
}
