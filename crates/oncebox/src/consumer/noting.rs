//! Notes in the database how far a partition is finished, about once a minute and at the end.

use std::convert::Infallible;
use std::time::Duration;

use sqlx::PgPool;

use super::partition::Partition;
use crate::inbox::positions;
use crate::ownership::Place;

const EVERY: Duration = Duration::from_secs(60);
/// The last note of a partition that is given up is not waited for longer.
const LAST: Duration = Duration::from_secs(1);

/// Notes positions until it is dropped.
pub(super) async fn note(pool: &PgPool, place: Place<'_>, partition: &Partition) -> Infallible {
    let mut noted = None;
    loop {
        tokio::time::sleep(EVERY).await;
        note_once(pool, place, partition, &mut noted).await;
    }
}

/// Notes the last position.
pub(super) async fn note_last(pool: &PgPool, place: Place<'_>, partition: &Partition) {
    let mut noted = None;
    let last = note_once(pool, place, partition, &mut noted);
    // Without it records are at worst taken for unhandled that were finished in the last minute, and that only when they
    // come again after the inbox has forgotten them.
    let _ = tokio::time::timeout(LAST, last).await;
}

async fn note_once(
    pool: &PgPool,
    place: Place<'_>,
    partition: &Partition,
    noted: &mut Option<i64>,
) {
    let finished = partition.finished();
    let Some(offset) = finished.filter(|_| finished != *noted) else {
        return;
    };
    match positions::note(pool, place, offset).await {
        Ok(()) => *noted = finished,
        // The partition's workers tell of an outage.
        Err(error) => tracing::debug!(%error, "position not noted, tried again in a minute"),
    }
}
