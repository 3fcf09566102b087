//! What of a chunk is parked: the record that the verdict parks, those set aside behind their keys, and, where a dead
//! letter holds its key, the key alone.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::{Uncommitted, Verdict};
use crate::consumer::batch::Chunk;
use crate::dead_letter::Letter;
use crate::ownership::Place;
use crate::parking::store::{FirstFailed, NewKey, ToPark};
use crate::parking::{Lane, OnDeadLetter, store};
use crate::record::{Delivery, Record};
use crate::sequence;

/// By how much the number of parked records grew; none when there was nothing to park, which costs nothing.
pub(super) async fn park<M>(
    tx: &mut PgConnection,
    place: Place<'_>,
    chunk: &Chunk<M>,
    verdict: Option<&Verdict>,
    buried: &[Letter<'_>],
    policy: OnDeadLetter,
) -> Result<Option<i64>, Uncommitted> {
    let mut keys: BTreeMap<Lane, NewKey<'_>> = BTreeMap::new();
    let mut records: Vec<ToPark<'_>> = Vec::new();
    if let Some(Verdict::Park(judged, delay)) = verdict {
        for delivery in &chunk.deliveries {
            let key = key_of(&mut keys, chunk.lane(&delivery.record), &delivery.record);
            key.failed = Some(FirstFailed {
                attempts: judged.attempts,
                first_failed_at: judged.first_failed_at,
                delay: *delay,
                failure: &judged.failure,
            });
            records.push(to_park(chunk, delivery));
        }
    }
    for delivery in &chunk.aside {
        key_of(&mut keys, chunk.lane(&delivery.record), &delivery.record);
        records.push(to_park(chunk, delivery));
    }
    for poison in &chunk.put_off {
        let (lane, record) = (Lane::of(&poison.record), &poison.record);
        key_of(&mut keys, lane, record);
        records.push(ToPark {
            lane,
            record,
            event_id: poison.event_id,
            sequence: chunk.sequence(record),
        });
    }
    // In the order of the topic, which is that of the parking.
    records.sort_by_key(|parked| parked.record.offset);
    if policy == OnDeadLetter::Hold {
        for letter in buried.iter().filter(|letter| letter.record.key.is_some()) {
            key_of(&mut keys, Lane::of(letter.record), letter.record).held_for =
                Some(letter.event_id);
        }
    }
    if keys.is_empty() {
        return Ok(None);
    }
    store::park_keys(tx, place, keys.into_values().collect()).await?;
    if records.is_empty() {
        return Ok(Some(0));
    }
    let parked = store::park(tx, place, &records).await?;
    let sequences: Vec<(Lane, i64)> = records
        .iter()
        .filter_map(|record| Some((record.lane, record.sequence?)))
        .collect();
    if !sequences.is_empty() {
        sequence::store::arrived(tx, place, &sequences).await?;
    }
    Ok(Some(i64::try_from(parked).unwrap_or(i64::MAX)))
}

fn to_park<'c, M>(chunk: &Chunk<M>, delivery: &'c Delivery<M>) -> ToPark<'c> {
    ToPark {
        lane: chunk.lane(&delivery.record),
        record: &delivery.record,
        event_id: delivery.event_id.as_uuid(),
        sequence: chunk.sequence(&delivery.record),
    }
}

fn key_of<'k, 'r>(
    keys: &'k mut BTreeMap<Lane, NewKey<'r>>,
    lane: Lane,
    record: &'r Record,
) -> &'k mut NewKey<'r> {
    keys.entry(lane).or_insert_with(|| NewKey {
        lane,
        key: record.key.as_ref(),
        failed: None,
        held_for: None,
    })
}
