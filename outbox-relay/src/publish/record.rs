//! From an outbox row to a Kafka record.

use oncebox::Headers;
use rdkafka::producer::BaseRecord;

use super::outcome::PublishError;
use crate::source::Row;

/// The record of a row; `index` finds the row again when its delivery fails.
pub(super) fn of(
    row: &Row,
    index: usize,
) -> Result<BaseRecord<'_, [u8], [u8], usize>, PublishError> {
    let malformed = |problem: String| PublishError::Malformed {
        seq: row.seq,
        event_id: row.event_id,
        topic: row.topic.clone(),
        problem,
    };
    let headers = Headers::from_json(&row.headers).map_err(|error| malformed(error.to_string()))?;
    if headers.iter().any(|(name, _)| name.contains('\0')) {
        return Err(malformed("a header name holds a zero byte".into()));
    }
    if row.topic.contains('\0') {
        return Err(malformed("the topic holds a zero byte".into()));
    }
    let mut record = BaseRecord::with_opaque_to(&row.topic, index).headers(headers.to_kafka());
    if let Some(key) = &row.key {
        record = record.key(key.as_slice());
    }
    // Written by rule, since writers differ in how they say "no value": an empty payload is a tombstone too.
    if let Some(payload) = row.payload.as_ref().filter(|payload| !payload.is_empty()) {
        record = record.payload(payload.as_slice());
    }
    Ok(record)
}
