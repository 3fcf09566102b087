//! Reading dead letters of every common writer: this kit and Kafka's share groups (KIP-1191), Spring, Kafka
//! Connect, Kafka Streams (KIP-1034).

use chrono::{DateTime, Utc};
use oncebox::Headers;
use oncebox::dead_letter::names;

/// What a dead letter's headers tell about the failure. Whatever a writer did not say is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failure {
    /// Topic that the record was read from.
    pub topic: Option<String>,
    /// Partition that the record was read from.
    pub partition: Option<i32>,
    /// Offset that the record was read from.
    pub offset: Option<i64>,
    /// Consumer group that failed.
    pub group: Option<String>,
    /// How often it was tried.
    pub attempts: Option<i32>,
    /// `transient`, `permanent`, `poison`.
    pub class: Option<String>,
    /// Stable code of the error; the exception's class where the writer has no codes.
    pub code: Option<String>,
    /// What went wrong, for people.
    pub message: Option<String>,
    /// Where in the program it went wrong.
    pub site: Option<String>,
    /// First failed attempt.
    pub first_failed_at: Option<DateTime<Utc>>,
    /// Last failed attempt.
    pub last_failed_at: Option<DateTime<Utc>>,
    /// Version of the service that failed.
    pub service_version: Option<String>,
}

/// Header names that tell of the failure and of earlier replays: kept in the index, not sent on.
const TOLD_BY_PREFIX: [&str; 6] = [
    "__dlq.errors.",
    "oncebox-error-",
    "oncebox-replay-",
    "kafka_dlt-",
    "__connect.errors.",
    "__streams.errors.",
];
const TOLD_BY_NAME: [&str; 4] = [
    names::FIRST_FAILED_AT,
    names::LAST_FAILED_AT,
    names::SERVICE_VERSION,
    "oncebox-stack",
];

/// Whether a header was added on the way to the dead-letter topic, rather than by the record's author.
pub fn tells_of_failure(name: &str) -> bool {
    TOLD_BY_PREFIX.iter().any(|prefix| name.starts_with(prefix)) || TOLD_BY_NAME.contains(&name)
}

/// Splits headers into the author's own and those that tell of the failure.
pub fn split(headers: &Headers) -> (Headers, Headers) {
    let (mut own, mut failure) = (headers.clone(), headers.clone());
    own.retain(|name| !tells_of_failure(name));
    failure.retain(tells_of_failure);
    (own, failure)
}

impl Failure {
    /// Reads what the headers tell. Never fails: a header that cannot be read is absent.
    pub fn read(headers: &Headers) -> Self {
        Self {
            topic: text(
                headers,
                &[
                    names::TOPIC,
                    "kafka_dlt-original-topic",
                    "__connect.errors.topic",
                    "__streams.errors.topic",
                ],
            ),
            partition: number(
                headers,
                &[
                    names::PARTITION,
                    "__connect.errors.partition",
                    "__streams.errors.partition",
                ],
            )
            .or_else(|| spring_number(headers, "kafka_dlt-original-partition"))
            .and_then(|number| number.try_into().ok()),
            offset: number(
                headers,
                &[
                    names::OFFSET,
                    "__connect.errors.offset",
                    "__streams.errors.offset",
                ],
            )
            .or_else(|| spring_number(headers, "kafka_dlt-original-offset")),
            group: text(
                headers,
                &[names::GROUP, "kafka_dlt-original-consumer-group"],
            ),
            attempts: number(headers, &[names::DELIVERY_COUNT])
                .and_then(|number| number.try_into().ok()),
            class: text(headers, &[names::ERROR_CLASS]),
            code: text(
                headers,
                &[
                    names::ERROR_CODE,
                    "kafka_dlt-exception-fqcn",
                    "__connect.errors.exception.class.name",
                    "__streams.errors.exception",
                ],
            ),
            message: text(
                headers,
                &[
                    names::MESSAGE,
                    "kafka_dlt-exception-message",
                    "__connect.errors.exception.message",
                    "__streams.errors.message",
                ],
            ),
            site: text(headers, &[names::ERROR_SITE, "__connect.errors.stage"]),
            first_failed_at: instant(headers, names::FIRST_FAILED_AT),
            last_failed_at: instant(headers, names::LAST_FAILED_AT),
            service_version: text(headers, &[names::SERVICE_VERSION]),
        }
    }
}

/// The first of these headers that is there, as text. Bytes that are no UTF-8 are replaced, and so is U+0000,
/// which PostgreSQL's text cannot hold: one odd header must not keep a dead letter out of the index.
fn text(headers: &Headers, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| {
        Some(String::from_utf8_lossy(headers.get(name)?).replace('\0', "\u{fffd}"))
    })
}

fn number(headers: &Headers, names: &[&str]) -> Option<i64> {
    names
        .iter()
        .find_map(|name| headers.get_str(name)?.parse().ok())
}

/// Spring writes a partition as four and an offset as eight big-endian bytes.
fn spring_number(headers: &Headers, name: &str) -> Option<i64> {
    let bytes = headers.get(name)?;
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(i64::from(i32::from_be_bytes(four)));
    }
    <[u8; 8]>::try_from(bytes).ok().map(i64::from_be_bytes)
}

/// RFC 3339, or milliseconds since 1970 as Kafka's own tools write them.
fn instant(headers: &Headers, name: &str) -> Option<DateTime<Utc>> {
    let text = headers.get_str(name)?;
    match DateTime::parse_from_rfc3339(text) {
        Ok(at) => Some(at.with_timezone(&Utc)),
        Err(_) => DateTime::from_timestamp_millis(text.parse().ok()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &[u8])]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in pairs {
            headers.push(*name, *value);
        }
        headers
    }

    #[test]
    fn our_own_dialect_is_read_in_full() {
        let failure = Failure::read(&headers(&[
            ("__dlq.errors.topic", b"payment.commands"),
            ("__dlq.errors.partition", b"2"),
            ("__dlq.errors.offset", b"42"),
            ("__dlq.errors.group", b"payment"),
            ("__dlq.errors.delivery.count", b"6"),
            ("__dlq.errors.message", b"no merchant account for USD"),
            ("oncebox-error-class", b"permanent"),
            ("oncebox-error-code", b"payment.merchant_account_missing"),
            ("oncebox-first-failed-at", b"2026-01-31T08:00:00Z"),
            ("oncebox-last-failed-at", b"1769846400000"),
        ]));
        assert_eq!(failure.topic.as_deref(), Some("payment.commands"));
        assert_eq!(
            (failure.partition, failure.offset, failure.attempts),
            (Some(2), Some(42), Some(6))
        );
        assert_eq!(
            failure.code.as_deref(),
            Some("payment.merchant_account_missing")
        );
        assert_eq!(failure.first_failed_at, failure.last_failed_at);
    }

    #[test]
    fn spring_numbers_are_binary() {
        let failure = Failure::read(&headers(&[
            ("kafka_dlt-original-topic", b"orders"),
            ("kafka_dlt-original-partition", &3_i32.to_be_bytes()),
            (
                "kafka_dlt-original-offset",
                &7_000_000_000_i64.to_be_bytes(),
            ),
            ("kafka_dlt-original-consumer-group", b"billing"),
            (
                "kafka_dlt-exception-fqcn",
                b"java.lang.IllegalStateException",
            ),
        ]));
        assert_eq!(
            (failure.partition, failure.offset),
            (Some(3), Some(7_000_000_000))
        );
        assert_eq!(failure.group.as_deref(), Some("billing"));
        assert_eq!(
            failure.code.as_deref(),
            Some("java.lang.IllegalStateException")
        );
    }

    #[test]
    fn connect_and_streams_are_read() {
        let connect = Failure::read(&headers(&[
            ("__connect.errors.topic", b"t"),
            ("__connect.errors.partition", b"0"),
            ("__connect.errors.stage", b"VALUE_CONVERTER"),
        ]));
        assert_eq!(
            (connect.partition, connect.site.as_deref()),
            (Some(0), Some("VALUE_CONVERTER"))
        );
        let streams = Failure::read(&headers(&[
            ("__streams.errors.offset", b"9"),
            ("__streams.errors.exception", b"E"),
        ]));
        assert_eq!(
            (streams.offset, streams.code.as_deref()),
            (Some(9), Some("E"))
        );
    }

    #[test]
    fn nonsense_is_absent_and_never_fatal() {
        let failure = Failure::read(&headers(&[
            ("__dlq.errors.partition", b"many"),
            ("__dlq.errors.offset", &[0xff, 0xfe]),
            ("kafka_dlt-original-partition", b"abc"),
            ("__dlq.errors.delivery.count", b"99999999999"),
            ("oncebox-first-failed-at", b"yesterday"),
            ("__dlq.errors.message", b"nul\0inside \xff"),
        ]));
        assert_eq!(
            (failure.partition, failure.offset, failure.attempts),
            (None, None, None)
        );
        assert_eq!(
            failure.message.as_deref(),
            Some("nul\u{fffd}inside \u{fffd}")
        );
    }

    #[test]
    fn the_authors_headers_are_told_from_the_rest() {
        let (own, failure) = split(&headers(&[
            ("ce_id", b"1"),
            ("__dlq.errors.topic", b"t"),
            ("ce_id", b"2"),
            ("oncebox-correlation-id", b"c"),
            ("oncebox-replay-count", b"1"),
            ("oncebox-stack", b"s"),
        ]));
        assert_eq!(
            own.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            ["ce_id", "ce_id", "oncebox-correlation-id"]
        );
        assert_eq!(failure.len(), 3);
    }
}
