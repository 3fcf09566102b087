//! From an outbox row to a Kafka record.

use oncebox::headers;
use rdkafka::producer::BaseRecord;

use crate::source::Row;

/// The record of a row; `index` finds the row again when its delivery fails. What keeps the row from being one otherwise.
pub(super) fn of(row: &Row, index: usize) -> Result<BaseRecord<'_, [u8], [u8], usize>, String> {
    let headers = std::str::from_utf8(&row.headers).map_err(|error| error.to_string())?;
    let headers = headers::kafka_headers_from_json(headers).map_err(|error| error.to_string())?;
    let mut record = BaseRecord::with_opaque_to(&row.topic, index).headers(headers);
    if let Some(key) = &row.key {
        record = record.key(key.as_ref());
    }
    // Written by rule, since writers differ in how they say "no value": an empty payload is a tombstone too.
    if let Some(payload) = row.payload.as_ref().filter(|payload| !payload.is_empty()) {
        record = record.payload(payload.as_ref());
    }
    Ok(record)
}
