//! Events that are so old that their inbox rows may be forgotten: finished already, never handled, or unknown.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use crate::failure::{ErrorClass, Failure};
use crate::headers;
use crate::ownership::Place;
use crate::record::Record;

/// Code of the failure of an event of which nothing is known any more.
pub(crate) const EXPIRED: &str = "inbox.expired";
/// By how much the clocks of producers and database may differ.
const SKEW: TimeDelta = TimeDelta::days(1);

/// What the database has to say about old events of one partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    /// Rows of events handled before that time may be gone.
    forgotten_before: DateTime<Utc>,
    /// How far the consumer had come in the partition at some time.
    position: Option<(i64, DateTime<Utc>)>,
    /// Events that are known as dead, never handled.
    dead: HashSet<Uuid>,
}

/// What is to be done with an event that has no finished row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// It was not handled before.
    Unhandled,
    /// It was handled, its row is forgotten.
    Finished,
    /// Nobody knows.
    Unknown,
}

/// How a record comes to its consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Topic,
    /// By the group's replay topic; `forced` by whoever asked for the replay.
    Replay {
        forced: bool,
    },
}

impl Way {
    pub(crate) fn of(record: &Record, replayed: bool) -> Self {
        if replayed {
            let forced = record
                .headers
                .get_str(crate::dead_letter::names::REPLAY_FORCED);
            Self::Replay {
                forced: forced == Some("true"),
            }
        } else {
            Self::Topic
        }
    }
}

/// When an event came into being or, if it was delayed, was due: by its id, where that is a UUIDv7, else by its record.
/// None where neither tells.
pub(crate) fn born(event_id: Uuid, record: &Record) -> Option<DateTime<Utc>> {
    let Some(made) = made(event_id) else {
        return record.timestamp;
    };
    let due = record
        .headers
        .get_str(headers::names::NOT_BEFORE)
        .and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    Some(due.map_or(made, |due| made.max(due.to_utc())))
}

/// The time in a UUIDv7: its first 48 bits are milliseconds (RFC 9562, section 5.7).
fn made(event_id: Uuid) -> Option<DateTime<Utc>> {
    let millis = i64::try_from(event_id.as_u128() >> 80).ok()?;
    (event_id.get_version_num() == 7).then(|| DateTime::from_timestamp_millis(millis))?
}

/// Whether an event is [`born`] before that time; headers are looked at only where the id does not tell already.
pub(crate) fn is_older(event_id: Uuid, record: &Record, time: DateTime<Utc>) -> bool {
    made(event_id).is_none_or(|made| made < time)
        && born(event_id, record).is_some_and(|born| born < time)
}

/// Judges an event without a finished row.
pub(crate) fn judge(memory: &Memory, event_id: Uuid, record: &Record, way: Way) -> Age {
    let forgotten = |at: DateTime<Utc>| at < memory.forgotten_before;
    // Whatever is handled is handled after it came into being: its row would be there still.
    if !born(event_id, record).is_some_and(forgotten) {
        return Age::Unhandled;
    }
    // A lower offset with a later time is of a topic that was made anew.
    if let Some((position, noted_at)) = memory.position
        && record.offset < position
        && record.timestamp.is_none_or(|at| at <= noted_at + SKEW)
    {
        return Age::Finished;
    }
    match way {
        Way::Replay { forced } if forced || memory.dead.contains(&event_id) => Age::Unhandled,
        // It has waited in the topic for longer than anything is remembered, and this consumer was not there yet.
        Way::Topic if record.timestamp.is_some_and(forgotten) => Age::Unhandled,
        // Published long after it was made: late, or once more.
        Way::Replay { .. } | Way::Topic => Age::Unknown,
    }
}

/// Asks for what [`judge`] needs about these events.
pub(crate) async fn ask(
    pool: &PgPool,
    place: Place<'_>,
    ids: &[Uuid],
) -> Result<Memory, sqlx::Error> {
    type Row = (DateTime<Utc>, Option<i64>, Option<DateTime<Utc>>, Vec<Uuid>);
    let (forgotten_before, position, noted_at, dead): Row = sqlx::query_as(
        r#"select forgotten_before, "offset", noted_at, array(
               select event_id from oncebox.inbox
               where inbox.consumer = $1 and event_id = any($4) and status = 'dead'
                 and not exists (select from oncebox.inbox_refused as refused
                                 where refused.consumer = $1 and refused.event_id = inbox.event_id))
           from oncebox.inbox_memory left join oncebox.inbox_positions as position
             on position.consumer = $1 and topic = $2 and "partition" = $3"#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(place.partition)
    .bind(ids)
    .fetch_one(pool)
    .await?;
    Ok(Memory {
        forgotten_before,
        position: position.zip(noted_at),
        dead: dead.into_iter().collect(),
    })
}

impl Memory {
    /// The failure of an event of which nothing is known any more.
    pub(crate) fn failure(&self, event_id: Uuid, record: &Record) -> Failure {
        let born = born(event_id, record).map_or_else(|| "?".to_owned(), |at| at.to_rfc3339());
        let message = format!(
            "the event is of {born}, and what was handled before {} is forgotten here: it may have been handled already; \
             a forced replay handles it",
            self.forgotten_before.to_rfc3339()
        );
        Failure::new(ErrorClass::Permanent, EXPIRED, message)
    }
}

#[cfg(test)]
mod tests;
