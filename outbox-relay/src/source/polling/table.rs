//! Which table is read, and by which expressions: the kit's outbox, or any other insert-only table of a service.

use serde::{Deserialize, Serialize};

/// The kit's own outbox.
const OUTBOX: &str = "oncebox.outbox";

/// A table that events are written to. What is not given is as in the kit's outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Table {
    /// Its name, with the schema, quoted as in SQL where it has to be.
    pub name: String,
    /// Column of the order inside a window: `bigint` from a sequence with cache 1, indexed.
    pub seq: String,
    /// Column of the writing transaction: `xid8 default pg_current_xact_id()`, indexed.
    pub xid: String,
    /// Expression of the event's id: `uuid`.
    pub event_id: String,
    /// Expression of the full topic name: `text`.
    pub topic: String,
    /// Expression of the record's key: `bytea`.
    pub key: String,
    /// Expression of the record's value: `bytea`.
    pub payload: String,
    /// Expression of the record's headers: `jsonb`, an object.
    pub headers: String,
    /// Expression of the time of writing: `timestamptz`. For the age of what waits only.
    pub created_at: String,
    /// Expression of the time before which the row is not published: `timestamptz`.
    pub not_before: String,
    /// The sequence of `seq`, found when the table is looked at.
    #[serde(skip)]
    pub(super) sequence: Option<String>,
}

impl Default for Table {
    fn default() -> Self {
        let own = |column: &str| column.to_owned();
        Self {
            name: own(OUTBOX),
            seq: own("seq"),
            xid: own("xid"),
            event_id: own("event_id"),
            topic: own("topic"),
            key: own("key"),
            payload: own("payload"),
            headers: own("headers"),
            created_at: own("created_at"),
            not_before: own("not_before"),
            sequence: None,
        }
    }
}

impl Table {
    /// Whether it is the kit's own outbox, whose partitions the relay makes and drops.
    pub fn is_own(&self) -> bool {
        self.name == OUTBOX
    }

    /// Each part, its expression and the type that it must have.
    pub(super) fn parts(&self) -> [(&'static str, &str, &'static str); 9] {
        [
            ("seq", &self.seq, "bigint"),
            ("xid", &self.xid, "xid8"),
            ("event_id", &self.event_id, "uuid"),
            ("topic", &self.topic, "text"),
            ("key", &self.key, "bytea"),
            ("payload", &self.payload, "bytea"),
            ("headers", &self.headers, "jsonb"),
            ("created_at", &self.created_at, "timestamp with time zone"),
            ("not_before", &self.not_before, "timestamp with time zone"),
        ]
    }

    /// The last number that the sequence gave out; null where it may not be seen.
    pub(super) fn last_number(&self) -> String {
        match &self.sequence {
            Some(sequence) => format!("(select last_value from {sequence})"),
            None => "null::bigint".into(),
        }
    }

    /// Whether rows may have a time, as in the kit's own outbox. Not where the configuration says otherwise.
    pub(super) fn expects_delays(&self) -> bool {
        self.not_before == "not_before"
    }

    /// As it is, but without delays: an outbox that was made before rows could have one.
    pub(super) fn without_delays(&self) -> Self {
        Self {
            not_before: "null::timestamptz".into(),
            ..self.clone()
        }
    }
}

/// The statements that read a table, made once for each connection.
#[derive(Debug, Clone)]
pub(super) struct Statements {
    pub(super) open_window: String,
    pub(super) before_first: String,
    pub(super) read_window: String,
    pub(super) backlog: String,
    pub(super) park: String,
}

impl Statements {
    pub(super) fn of(table: &Table) -> Self {
        let fill = |statement: &str| {
            statement
                .replace("{row}", ROW)
                .replace("{table}", &table.name)
                .replace("{seq}", &table.seq)
                .replace("{xid}", &table.xid)
                .replace("{event_id}", &table.event_id)
                .replace("{topic}", &table.topic)
                .replace("{key}", &table.key)
                .replace("{payload}", &table.payload)
                .replace("{headers}", &table.headers)
                .replace("{created_at}", &table.created_at)
                .replace("{not_before}", &table.not_before)
                .replace("{last_number}", &table.last_number())
        };
        Self {
            open_window: fill(OPEN_WINDOW),
            before_first: fill(BEFORE_FIRST),
            read_window: fill(READ_WINDOW),
            backlog: fill(BACKLOG),
            park: fill(PARK),
        }
    }
}

/// A row as the relay reads it. Its time is given while it has not come, by the database's clock.
const ROW: &str = "{seq} as seq, {event_id} as event_id, {topic} as topic, {key} as key, {payload} as payload,
    {headers} as headers, case when {not_before} > clock_timestamp() then {not_before} end as not_before";

/// One look: the snapshot and what it sees that the settled one ($1: xmax, $2: running) does not, unless that is more
/// rows than the limit ($3), and then the first of them up to a size ($4).
///
/// Two ranges of the index on (xid, seq): a transaction left open for an hour costs one more entry in $2, not a scan of
/// an hour's rows. Where there are too many, counting stops one after the limit, and none is sent: which of them came
/// first would be the planner's choice.
const OPEN_WINDOW: &str = "
    with taken as materialized (
        select pg_current_snapshot()::text as snapshot, {last_number} as last_number),
    unsettled as materialized (
        select * from (
            select {row} from {table} where {xid} >= $1::text::xid8
            union all
            select {row} from {table} where {xid} = any($2::text[]::xid8[])) as found
        limit $3 + 1),
    counted as materialized (select count(*) as found from unsettled),
    sized as (
        select *, sum(coalesce(octet_length(payload), 0) + pg_column_size(headers) + 200)
            over (order by seq rows between unbounded preceding and 1 preceding) as bytes_before
        from unsettled where (select found from counted) <= $3)
    select taken.snapshot, taken.last_number, counted.found, sized.*
    from taken cross join counted left join sized on coalesce(sized.bytes_before, 0) < $4
    order by sized.seq";

/// The first `seq` of a window ($1, $2: settled; $3: what the window sees).
const BEFORE_FIRST: &str = "
    select min(seq) from (
        select min({seq}) as seq from {table}
        where {xid} >= $1::text::xid8 and pg_visible_in_snapshot({xid}, (select $3::text::pg_snapshot))
        union all
        select min({seq}) from {table}
        where {xid} = any($2::text[]::xid8[]) and pg_visible_in_snapshot({xid}, (select $3::text::pg_snapshot))) as firsts";

/// Rows of a window ($1, $2: settled; $3: what the window sees) after a position ($4), in `seq` order by the primary
/// key, no sort; at most so many rows ($5) and bytes ($6). A size is known without reading a large payload itself.
const READ_WINDOW: &str = "
    select seq, event_id, topic, key, payload, headers, not_before from (
        select *, sum(coalesce(octet_length(payload), 0) + pg_column_size(headers) + 200)
            over (order by seq rows between unbounded preceding and 1 preceding) as bytes_before
        from (
            select {row} from {table}
            where {seq} > $4
              and ({xid} >= $1::text::xid8 or {xid} = any((select $2::text[]::xid8[])::xid8[]))
              and pg_visible_in_snapshot({xid}, (select $3::text::pg_snapshot))
            order by {seq} limit $5) as next) as sized
    where coalesce(bytes_before, 0) < $6
    order by seq";

/// What waits ($1, $2: settled; $3: position in the window), counted up to a bound ($4).
const BACKLOG: &str = "
    select count(*) as rows,
           coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::float8 as oldest
    from (select {created_at} as created_at from {table} where {xid} >= $1::text::xid8 and {seq} > $3
          union all
          select {created_at} from {table} where {xid} = any($2::text[]::xid8[]) and {seq} > $3
          limit $4) as waiting";

/// Copies rows ($1: seq, $2: state, $3: error) into the parking table; what is there stays as it is. Only for the tenure
/// ($5) that has the source: its line is locked, so that a successor's claim comes wholly before or wholly after.
const PARK: &str = "
    with tenure as materialized (
        select from oncebox.relay_fence where shard = 0 and writer = $5 for share)
    insert into oncebox.relay_parked
        (seq, event_id, topic, key, payload, headers, created_at, not_before, state, error, attempts, next_attempt_at)
    select found.seq, found.event_id, found.topic, found.key, found.payload, found.headers, found.created_at,
           found.not_before, parked_state, parked_error, case when parked_error is null then 0 else 1 end,
           clock_timestamp() + $4 * interval '1 millisecond'
    from tenure cross join unnest($1::bigint[], $2::text[], $3::text[]) as to_park (parked_seq, parked_state, parked_error)
    cross join lateral (
        select {seq} as seq, {event_id} as event_id, {topic} as topic, {key} as key, {payload} as payload,
               {headers} as headers, {created_at} as created_at, {not_before} as not_before
        from {table} where {seq} = parked_seq) as found
    on conflict (seq) do nothing";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_have_no_gaps_left() {
        let statements = Statements::of(&Table::default());
        for statement in [
            statements.open_window,
            statements.before_first,
            statements.read_window,
            statements.backlog,
            statements.park,
        ] {
            assert!(!statement.contains('{'), "{statement}");
        }
    }
}
