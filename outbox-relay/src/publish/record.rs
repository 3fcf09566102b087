//! From an outbox row to a Kafka record.

use oncebox::headers;
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
    let headers = headers::kafka_headers_from_json(row.headers.get())
        .map_err(|error| malformed(error.to_string()))?;
    if row.topic.contains('\0') {
        return Err(malformed("the topic holds a zero byte".into()));
    }
    let mut record = BaseRecord::with_opaque_to(&row.topic, index).headers(headers);
    if let Some(key) = &row.key {
        record = record.key(key.as_slice());
    }
    // Written by rule, since writers differ in how they say "no value": an empty payload is a tombstone too.
    if let Some(payload) = row.payload.as_ref().filter(|payload| !payload.is_empty()) {
        record = record.payload(payload.as_slice());
    }
    Ok(record)
}
