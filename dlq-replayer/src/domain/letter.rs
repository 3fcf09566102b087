//! A dead letter: the record that failed, what is known of the failure, and where a replay of it would go.

use oncebox::dead_letter;
use oncebox::{EventId, Headers, Record};

use super::dialect::{self, Failure};

/// Bytes of header names and values that a replay adds, generously.
const REPLAY_HEADERS_BYTES: usize = 4 * 1024;

/// A record of a dead-letter topic, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The record in the dead-letter topic; its headers are in the two fields below.
    pub record: Record,
    /// What is known of the failure.
    pub failure: Failure,
    /// Topic whose consumer failed; not the replay topic when it failed in a replay.
    pub source_topic: Option<String>,
    /// The event's id. A record that never had one gets the id that its consumer knows it by.
    pub event_id: EventId,
    /// Headers that its author wrote. A replay carries them unchanged.
    pub headers: Headers,
    /// Headers that tell of the failure and of earlier replays.
    pub error_headers: Headers,
    /// Dead letter whose replay failed again, as `topic/partition/offset`.
    pub replay_of: Option<String>,
    /// How often the event had been replayed before it came here.
    pub prior_replays: i32,
    /// Where a replay would go, or why there can be none.
    pub target: Result<String, Unreplayable>,
}

/// Why a dead letter cannot be replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreplayable {
    /// Its headers do not tell which group failed on which topic.
    NoSource,
    /// It is larger than what the outbox takes.
    TooLarge,
}

impl Unreplayable {
    /// As the index keeps it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSource => "no_source",
            Self::TooLarge => "too_large",
        }
    }

    /// What to tell people.
    pub fn explain(code: &str) -> &'static str {
        match code {
            "too_large" => {
                "the record is larger than the outbox takes (8 MiB value, 16 KiB key, 124 KiB headers)"
            }
            _ => "its headers do not tell which consumer group failed on which topic",
        }
    }
}

impl Letter {
    /// Reads a record of a dead-letter topic. Never fails: whatever is in such a topic gets into the index.
    pub fn read(record: Record) -> Self {
        let failure = Failure::read(&record.headers);
        let (mut headers, error_headers) = dialect::split(&record.headers);
        let source_topic = source_topic(&record.topic, &failure);
        let event_id = event_id(&record).unwrap_or_else(|| {
            let id = original_id(&record, &failure);
            // Without it the consumer would take each replay for an event of its own: it would neither find its
            // earlier failure nor recognise a second replay.
            headers.push(dead_letter::names::EVENT_ID, id.to_string());
            id
        });
        let target = target(
            &record,
            &headers,
            source_topic.as_deref(),
            failure.group.as_deref(),
        );
        Self {
            replay_of: record
                .headers
                .get_str("oncebox-replay-of")
                .map(|text| text.replace('\0', "\u{fffd}")),
            prior_replays: record
                .headers
                .get_str(dead_letter::names::REPLAY_COUNT)
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
            record,
            failure,
            source_topic,
            event_id,
            headers,
            error_headers,
            target,
        }
    }
}

/// The dead-letter topic's own name tells best, since it is the same for failures of replays.
fn source_topic(dlq: &str, failure: &Failure) -> Option<String> {
    let Some(group) = &failure.group else {
        return failure.topic.clone();
    };
    if let Some(source) = dlq.strip_suffix(&dead_letter::topic("", group)) {
        return Some(source.to_owned());
    }
    let topic = failure.topic.as_deref()?;
    Some(
        topic
            .strip_suffix(&dead_letter::replay_topic("", group))
            .unwrap_or(topic)
            .to_owned(),
    )
}

/// The author's event id; for a record without one, the id under which its consumer kept it.
fn event_id(record: &Record) -> Option<EventId> {
    let kept = || {
        record
            .headers
            .get_str(dead_letter::names::EVENT_ID)?
            .parse()
            .ok()
    };
    record.header_event_id().or_else(kept)
}

/// The id that a consumer gives a record without one: made from where the record first lay.
fn original_id(record: &Record, failure: &Failure) -> EventId {
    let (Some(topic), Some(partition), Some(offset)) =
        (&failure.topic, failure.partition, failure.offset)
    else {
        return record.position_id();
    };
    Record {
        topic: topic.clone(),
        partition,
        offset,
        ..record.clone()
    }
    .position_id()
}

fn target(
    record: &Record,
    headers: &Headers,
    source: Option<&str>,
    group: Option<&str>,
) -> Result<String, Unreplayable> {
    let (Some(source), Some(group)) = (source, group) else {
        return Err(Unreplayable::NoSource);
    };
    let fits = record.value.as_ref().map_or(0, |value| value.len())
        <= oncebox::outbox::MAX_RAW_PAYLOAD_BYTES
        && record.key.as_ref().map_or(0, |key| key.len()) <= oncebox::outbox::MAX_KEY_BYTES
        && headers.size_bytes() + REPLAY_HEADERS_BYTES <= oncebox::outbox::MAX_HEADERS_BYTES;
    if fits {
        Ok(dead_letter::replay_topic(source, group))
    } else {
        Err(Unreplayable::TooLarge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(topic: &str, headers: &[(&str, &str)]) -> Record {
        let mut all = Headers::new();
        for (name, value) in headers {
            all.push(*name, *value);
        }
        Record {
            topic: topic.to_owned(),
            partition: 0,
            offset: 5,
            timestamp: None,
            key: None,
            value: Some(vec![1].into()),
            headers: all,
        }
    }

    #[test]
    fn a_replay_goes_to_the_group_that_failed() {
        let letter = Letter::read(record(
            "p.order.events.mail.dlq",
            &[
                ("__dlq.errors.topic", "p.order.events"),
                ("__dlq.errors.group", "mail"),
            ],
        ));
        assert_eq!(letter.source_topic.as_deref(), Some("p.order.events"));
        assert_eq!(letter.target.as_deref(), Ok("p.order.events.mail.replay"));
    }

    #[test]
    fn a_replay_that_failed_again_goes_to_the_same_place() {
        let letter = Letter::read(record(
            "order.events.mail.dlq",
            &[
                ("__dlq.errors.topic", "order.events.mail.replay"),
                ("__dlq.errors.group", "mail"),
                ("oncebox-replay-of", "order.events.mail.dlq/0/1"),
                ("oncebox-replay-count", "2"),
            ],
        ));
        assert_eq!(letter.target.as_deref(), Ok("order.events.mail.replay"));
        assert_eq!(
            (letter.replay_of.as_deref(), letter.prior_replays),
            (Some("order.events.mail.dlq/0/1"), 2)
        );
        assert!(letter.headers.get("oncebox-replay-of").is_none());
    }

    #[test]
    fn a_group_with_dots_is_no_puzzle() {
        let letter = Letter::read(record("a.b.c.d.dlq", &[("__dlq.errors.group", "c.d")]));
        assert_eq!(letter.source_topic.as_deref(), Some("a.b"));
    }

    #[test]
    fn a_foreign_topic_name_is_no_hindrance() {
        let letter = Letter::read(record(
            "legacy.dlq",
            &[
                ("kafka_dlt-original-topic", "orders"),
                ("kafka_dlt-original-consumer-group", "billing"),
            ],
        ));
        assert_eq!(letter.target.as_deref(), Ok("orders.billing.replay"));
    }

    #[test]
    fn without_a_source_there_is_no_target() {
        assert_eq!(
            Letter::read(record("x.dlq", &[])).target,
            Err(Unreplayable::NoSource)
        );
    }

    #[test]
    fn what_the_outbox_would_refuse_is_known_beforehand() {
        let mut large = record("t.g.dlq", &[("__dlq.errors.group", "g")]);
        large.value = Some(vec![0; oncebox::outbox::MAX_RAW_PAYLOAD_BYTES + 1].into());
        assert_eq!(Letter::read(large).target, Err(Unreplayable::TooLarge));
    }

    #[test]
    fn a_record_without_an_id_keeps_the_one_its_consumer_gave_it() {
        let original = Record {
            offset: 9,
            ..record("t", &[])
        };
        let dead = record(
            "t.g.dlq",
            &[
                ("__dlq.errors.topic", "t"),
                ("__dlq.errors.partition", "0"),
                ("__dlq.errors.offset", "9"),
                ("__dlq.errors.group", "g"),
            ],
        );
        let letter = Letter::read(dead);
        assert_eq!(letter.event_id, original.event_id());
        assert_eq!(
            letter.headers.get_str("oncebox-event-id"),
            Some(original.event_id().to_string().as_str())
        );
    }

    #[test]
    fn the_identity_that_the_consumer_noted_stays_on_the_replay() {
        let id = "0199b0f4-6c1e-7e30-8f3a-3a7a7a0f6f11";
        let letter = Letter::read(record(
            "t.g.dlq",
            &[("__dlq.errors.group", "g"), ("oncebox-event-id", id)],
        ));
        assert_eq!(letter.event_id.to_string(), id);
        assert_eq!(letter.headers.len(), 1, "{:?}", letter.headers);
    }
}
