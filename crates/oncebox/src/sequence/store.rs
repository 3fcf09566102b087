//! The table of sequences: one statement reads all that a batch needs, one writes all that it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::ranges::Ranges;
use super::stream::Stream;
use crate::ownership::Place;
use crate::parking::Lane;

/// The streams of these keys; `first` is where one begins of which nothing is known.
pub(crate) async fn load(
    pool: &PgPool,
    place: Place<'_>,
    lanes: &BTreeSet<Lane>,
    first: Option<u64>,
) -> Result<BTreeMap<Lane, Stream>, sqlx::Error> {
    #[derive(sqlx::FromRow)]
    struct Row {
        lane: Uuid,
        last: i64,
        ahead: Vec<i64>,
        missed: Vec<i64>,
        dead_to: Option<i64>,
        version: i64,
    }
    let names: Vec<Uuid> = lanes.iter().map(|lane| lane.as_uuid()).collect();
    let rows: Vec<Row> = sqlx::query_as(
        "select lane, last, ahead, missed, dead_to, version from oncebox.sequences
         where consumer = $1 and topic = $2 and lane = any($3)",
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(names)
    .fetch_all(pool)
    .await?;
    let mut streams: BTreeMap<Lane, Stream> = lanes
        .iter()
        .map(|lane| (*lane, Stream::new(first)))
        .collect();
    for row in rows {
        let stream = Stream {
            last: Some(row.last),
            ahead: Ranges::from_flat(&row.ahead),
            missed: Ranges::from_flat(&row.missed),
            dead_to: row.dead_to,
            version: row.version,
        };
        streams.insert(Lane(row.lane), stream);
    }
    Ok(streams)
}

/// What [`advance`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Advanced {
    /// The streams are written, and so many keys are due for it.
    Written {
        /// Keys that waited for what the streams have reached.
        woken: i64,
    },
    /// Somebody else has changed one: the transaction must not commit.
    Moved,
}

/// Writes streams that have changed since they were read, and makes keys due that wait for what they have reached, in
/// whatever partition they are parked.
pub(crate) async fn advance(
    tx: &mut PgConnection,
    place: Place<'_>,
    streams: &[(Lane, Stream)],
) -> Result<Advanced, sqlx::Error> {
    let count = streams.len();
    let (mut lanes, mut last) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut ahead, mut missed) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut dead_to, mut versions) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for (lane, stream) in streams {
        lanes.push(lane.as_uuid());
        // Where anything may come first there is a last one as soon as there is a change.
        last.push(stream.last.unwrap_or(-1));
        ahead.push(literal(&stream.ahead));
        missed.push(literal(&stream.missed));
        dead_to.push(stream.dead_to);
        versions.push(stream.version);
    }
    // Rows are locked in the order of their lanes, as everywhere.
    let (written, woken): (i64, i64) = sqlx::query_as(
        r#"with written as (
               insert into oncebox.sequences as present (consumer, topic, lane, last, ahead, missed, dead_to, version)
               select $1, $2, lane, last, ahead::bigint[], missed::bigint[], dead_to, version + 1
               from unnest($3::uuid[], $4::bigint[], $5::text[], $6::text[], $7::bigint[], $8::bigint[])
                    as moved (lane, last, ahead, missed, dead_to, version)
               order by lane
               on conflict (consumer, topic, lane) do update
                   set last = excluded.last, ahead = excluded.ahead, missed = excluded.missed,
                       dead_to = excluded.dead_to, version = excluded.version, moved_at = clock_timestamp()
                   where present.version = excluded.version - 1
               returning lane, last),
           waiting as (
               select keys.consumer, keys.topic, keys."partition", keys.lane
               from oncebox.parked_keys as keys join written on keys.lane = written.lane
               where keys.consumer = $1 and keys.topic = $2 and keys.waits_for <= written.last
               order by keys.lane, keys."partition" for update of keys),
           woken as (
               update oncebox.parked_keys as keys set next_attempt_at = clock_timestamp()
               from waiting
               where keys.consumer = waiting.consumer and keys.topic = waiting.topic
                 and keys."partition" = waiting."partition" and keys.lane = waiting.lane
               returning 1)
           select (select count(*) from written), (select count(*) from woken)"#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(lanes)
    .bind(last)
    .bind(ahead)
    .bind(missed)
    .bind(dead_to)
    .bind(versions)
    .fetch_one(tx)
    .await?;
    Ok(if usize::try_from(written) == Ok(count) {
        Advanced::Written { woken }
    } else {
        Advanced::Moved
    })
}

/// An array as PostgreSQL writes it: arrays of arrays would have to be of one length each.
fn literal(ranges: &Ranges) -> String {
    let numbers: Vec<String> = ranges.to_flat().iter().map(i64::to_string).collect();
    format!("{{{}}}", numbers.join(","))
}

/// What of a key waits, by the database's clock.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub(crate) struct Waiting {
    /// Milliseconds since the first of its records was parked.
    waited: i64,
    /// Up to which sequence they follow the first in order without another gap.
    pub(crate) run_to: i64,
}

impl Waiting {
    pub(crate) fn waited(&self) -> Duration {
        Duration::from_millis(self.waited.max(0).unsigned_abs())
    }
}

/// How long a key's parked records have waited. None when nothing with a sequence is parked.
pub(crate) async fn waiting(
    pool: &PgPool,
    place: Place<'_>,
    lane: Lane,
) -> Result<Option<Waiting>, sqlx::Error> {
    sqlx::query_as(
        r#"select floor(extract(epoch from clock_timestamp() - min(since)) * 1000)::bigint as waited,
                  max(sequence) filter (where run = first_run) as run_to
           from (select parked_at as since, sequence, sequence - position as run,
                        first_value(sequence - position) over (order by sequence) as first_run
                 from (select parked_at, sequence, dense_rank() over (order by sequence) as position
                       from oncebox.parked
                       where consumer = $1 and topic = $2 and "partition" = $3 and lane = $4
                         and sequence is not null) as ranked) as runs
           having count(*) > 0"#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(place.partition)
    .bind(lane.as_uuid())
    .fetch_optional(pool)
    .await
}

/// Lets a key wait for a sequence, so long. False when the stream has moved since it was read, or what is waited for lies
/// in the parking by now: then there is nothing to wait for.
pub(crate) async fn wait(
    tx: &mut PgConnection,
    place: Place<'_>,
    lane: Lane,
    stream: &Stream,
    time: Duration,
) -> Result<bool, sqlx::Error> {
    // Raises the version, so that whoever is about to move the stream has to look again, and finds that the key waits.
    let unmoved = sqlx::query(
        "insert into oncebox.sequences as present (consumer, topic, lane, last, version)
         values ($1, $2, $3, $4, 1)
         on conflict (consumer, topic, lane) do update
             set version = present.version + 1 where present.version = $5",
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(lane.as_uuid())
    .bind(stream.last.unwrap_or(-1))
    .bind(stream.version)
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if unmoved == 0 {
        return Ok(false);
    }
    // The lock first, the question after it: whoever parks a record of the key has done so before, and is seen, or finds
    // that the key waits.
    sqlx::query(
        r#"select 1 from oncebox.parked_keys
           where consumer = $1 and topic = $2 and "partition" = $3 and lane = $4 for update"#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(place.partition)
    .bind(lane.as_uuid())
    .execute(&mut *tx)
    .await?;
    let done = sqlx::query(
        r#"update oncebox.parked_keys
           set waits_for = $5, waits_until = clock_timestamp() + $6 * interval '1 millisecond',
               next_attempt_at = clock_timestamp() + $6 * interval '1 millisecond'
           where consumer = $1 and topic = $2 and "partition" = $3 and lane = $4 and held_for is null
             and not exists (select from oncebox.parked
                             where consumer = $1 and topic = $2 and "partition" = $3 and lane = $4
                               and sequence <= $5)"#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(place.partition)
    .bind(lane.as_uuid())
    .bind(stream.expected())
    .bind(time.as_millis() as f64)
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Makes keys due that wait for one of these sequences, which are being parked by this transaction: after the keys'
/// rows were locked.
pub(crate) async fn arrived(
    tx: &mut PgConnection,
    place: Place<'_>,
    sequences: &[(Lane, i64)],
) -> Result<(), sqlx::Error> {
    let (lanes, sequences): (Vec<Uuid>, Vec<i64>) = sequences
        .iter()
        .map(|(lane, sequence)| (lane.as_uuid(), *sequence))
        .unzip();
    sqlx::query(
        r#"update oncebox.parked_keys as keys set next_attempt_at = clock_timestamp()
           from unnest($4::uuid[], $5::bigint[]) as arrived (lane, sequence)
           where keys.consumer = $1 and keys.topic = $2 and keys."partition" = $3
             and keys.lane = arrived.lane and keys.waits_for >= arrived.sequence"#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(place.partition)
    .bind(lanes)
    .bind(sequences)
    .execute(tx)
    .await?;
    Ok(())
}
