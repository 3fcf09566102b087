//! What of a chunk is parked: the record that the verdict parks, those set aside behind their keys, and, where a dead
//! letter holds its key, the key alone.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Uncommitted, Verdict};
use crate::consumer::batch::Chunk;
use crate::dead_letter::Letter;
use crate::ownership::Place;
use crate::parking::store::{FirstFailed, NewKey};
use crate::parking::{Lane, OnDeadLetter, store};
use crate::record::Record;

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
    let mut records: Vec<(&Record, Uuid)> = Vec::new();
    if let Some(Verdict::Park(judged, delay)) = verdict {
        for delivery in &chunk.deliveries {
            let key = key_of(&mut keys, &delivery.record);
            key.failed = Some(FirstFailed {
                attempts: judged.attempts,
                first_failed_at: judged.first_failed_at,
                delay: *delay,
                failure: &judged.failure,
            });
            records.push((&delivery.record, delivery.event_id.as_uuid()));
        }
    }
    for delivery in &chunk.aside {
        key_of(&mut keys, &delivery.record);
        records.push((&delivery.record, delivery.event_id.as_uuid()));
    }
    if policy == OnDeadLetter::Hold {
        for letter in buried.iter().filter(|letter| letter.record.key.is_some()) {
            key_of(&mut keys, letter.record).held_for = Some(letter.event_id);
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
    Ok(Some(i64::try_from(parked).unwrap_or(i64::MAX)))
}

fn key_of<'k, 'r>(
    keys: &'k mut BTreeMap<Lane, NewKey<'r>>,
    record: &'r Record,
) -> &'k mut NewKey<'r> {
    let lane = Lane::of(record);
    keys.entry(lane).or_insert_with(|| NewKey {
        lane,
        key: record.key.as_ref(),
        failed: None,
        held_for: None,
    })
}
