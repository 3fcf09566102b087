//! The parking's tables. What the owner does is inside its transactions; an operator's orders are rows that it finds.

mod operator;
mod owner;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

pub(crate) use operator::{doom, keys, release, retry_now};
pub(crate) use owner::{
    Due, GIVEN_UP, Head, doomed_failure, due, finish_head, head, load, postpone, release_replayed,
};

use super::lane::Lane;
use crate::failure::Failure;
use crate::ownership::Place;
use crate::record::Record;

/// Longest error message that is kept.
pub(super) const MESSAGE_LIMIT: usize = 4 * 1024;

/// A key that has records to be parked.
#[derive(Debug)]
pub(crate) struct NewKey<'a> {
    pub(crate) lane: Lane,
    pub(crate) key: Option<&'a Bytes>,
    /// For the key whose record has failed; the others' keys are parked already.
    pub(crate) failed: Option<FirstFailed<'a>>,
    /// For the key of a dead letter that holds it.
    pub(crate) held_for: Option<Uuid>,
}

/// What is known of a parked key's first record.
#[derive(Debug)]
pub(crate) struct FirstFailed<'a> {
    pub(crate) attempts: u32,
    pub(crate) first_failed_at: DateTime<Utc>,
    pub(crate) delay: std::time::Duration,
    pub(crate) failure: &'a Failure,
}

/// Notes these keys as parked, or finds that they are. Locks their rows either way, so that the last record of a key
/// cannot be finished while another is parked behind it.
pub(crate) async fn park_keys(
    tx: &mut PgConnection,
    place: Place<'_>,
    mut keys: Vec<NewKey<'_>>,
) -> Result<(), sqlx::Error> {
    // Sorted, as everywhere where several rows are locked.
    keys.sort_by_key(|key| key.lane);
    let count = keys.len();
    let (mut lanes, mut names) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut attempts, mut first, mut delays) = (Vec::new(), Vec::new(), Vec::new());
    let (mut classes, mut codes, mut messages) = (Vec::new(), Vec::new(), Vec::new());
    let mut held = Vec::with_capacity(count);
    for key in keys {
        let failed = key.failed.as_ref();
        lanes.push(key.lane.as_uuid());
        names.push(key.key.map(|key| key.to_vec()));
        attempts.push(failed.map_or(0, |failed| count_of(failed.attempts)));
        first.push(failed.map(|failed| failed.first_failed_at));
        delays.push(failed.map_or(0.0, |failed| failed.delay.as_millis() as f64));
        classes.push(failed.map(|failed| failed.failure.class.as_str()));
        codes.push(failed.map(|failed| failed.failure.code));
        messages.push(
            failed.map(|failed| crate::dead_letter::cut(&failed.failure.message, MESSAGE_LIMIT)),
        );
        held.push(key.held_for);
    }
    sqlx::query(
        r#"insert into oncebox.parked_keys as present
               (consumer, topic, "partition", lane, key, attempts, first_failed_at, last_failed_at, next_attempt_at,
                error_class, error_code, error_message, held_for)
           select $1, $2, $3, lane, key, attempts, first_failed_at,
                  case when first_failed_at is not null then clock_timestamp() end,
                  clock_timestamp() + delay * interval '1 millisecond',
                  error_class, error_code, error_message, held_for
           from unnest($4::uuid[], $5::bytea[], $6::integer[], $7::timestamptz[], $8::float8[],
                       $9::text[], $10::text[], $11::text[], $12::uuid[])
                as parking (lane, key, attempts, first_failed_at, delay, error_class, error_code, error_message, held_for)
           order by lane
           on conflict (consumer, topic, "partition", lane) do update
               set held_for = coalesce(present.held_for, excluded.held_for)
               where excluded.held_for is not null"#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(place.partition)
    .bind(lanes)
    .bind(names)
    .bind(attempts)
    .bind(first)
    .bind(delays)
    .bind(classes)
    .bind(codes)
    .bind(messages)
    .bind(held)
    .execute(tx)
    .await?;
    Ok(())
}

/// A record to be parked.
#[derive(Debug)]
pub(crate) struct ToPark<'a> {
    pub(crate) lane: Lane,
    pub(crate) record: &'a Record,
    pub(crate) event_id: Uuid,
    /// Its place in its key's order, where the consumer demands one; otherwise it is that of arrival.
    pub(crate) sequence: Option<i64>,
}

/// Parks records behind whatever is parked of their keys, which [`park_keys`] has locked; returns how many were new.
pub(crate) async fn park(
    tx: &mut PgConnection,
    place: Place<'_>,
    records: &[ToPark<'_>],
) -> Result<u64, sqlx::Error> {
    let count = records.len();
    let (mut lanes, mut offsets) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut ids, mut keys) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut payloads, mut headers) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut timestamps, mut sequences) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for to_park in records {
        let record = to_park.record;
        lanes.push(to_park.lane.as_uuid());
        sequences.push(to_park.sequence);
        offsets.push(record.offset);
        ids.push(to_park.event_id);
        keys.push(record.key.as_ref().map(|key| key.to_vec()));
        payloads.push(record.value.as_ref().map(|value| value.to_vec()));
        headers.push(record.headers.to_json());
        timestamps.push(record.timestamp);
    }
    let done = sqlx::query(
        r#"insert into oncebox.parked
               (consumer, topic, "partition", lane, "offset", event_id, key, payload, headers, "timestamp",
                sequence)
           select $1, $2, $3, lane, "offset", event_id, key, payload, headers, "timestamp", sequence
           from unnest($4::uuid[], $5::bigint[], $6::uuid[], $7::bytea[], $8::bytea[], $9::jsonb[], $10::timestamptz[],
                       $11::bigint[])
                as parking (lane, "offset", event_id, key, payload, headers, "timestamp", sequence)
           order by "offset"
           on conflict (consumer, topic, "partition", "offset", event_id) do nothing"#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(place.partition)
    .bind(lanes)
    .bind(offsets)
    .bind(ids)
    .bind(keys)
    .bind(payloads)
    .bind(headers)
    .bind(timestamps)
    .bind(sequences)
    .execute(tx)
    .await?;
    Ok(done.rows_affected())
}

pub(super) fn count_of(attempts: u32) -> i32 {
    i32::try_from(attempts).unwrap_or(i32::MAX)
}
