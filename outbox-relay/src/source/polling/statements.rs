//! The statements that read an outbox and its parking table, for one shard of one table.

use super::question::running;
use super::table::Table;
use crate::cursor::Snapshot;
use crate::shard::Shard;
use crate::source::Limits;

/// The statements that read a table, made once for each connection.
#[derive(Debug, Clone)]
pub(super) struct Statements {
    pub(super) open_window: String,
    before_first: String,
    read_window: String,
    backlog: String,
    pub(super) park: String,
    pub(super) blocked: String,
    pub(super) blocked_rows: String,
    pub(super) unpassed: String,
    pub(super) due: String,
    pub(super) next_due: String,
}

impl Statements {
    /// For one shard of a table.
    pub(super) fn of(table: &Table, shard: Shard) -> Self {
        let fill = |statement: &str| {
            statement
                .replace("{shard}", &shard.rows(&table.key, &table.seq))
                .replace("{parked_shard}", &shard.parked())
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
            blocked: fill(BLOCKED),
            blocked_rows: fill(BLOCKED_ROWS),
            unpassed: fill(UNPASSED),
            due: fill(DUE),
            next_due: fill(NEXT_DUE),
        }
    }
}

/// Statements whose best plan depends on the values, and which are asked seldom: the values are part of the text. All of
/// them are numbers.
impl Statements {
    /// The first `seq` of what the settled snapshot does not see and the window does.
    pub(super) fn before_first(&self, settled: &Snapshot, window: &Snapshot) -> String {
        since(&self.before_first, settled).replace("{window}", &window.to_string())
    }

    /// What waits behind the settled snapshot, and after a position in the window.
    pub(super) fn backlog(&self, settled: &Snapshot, position: i64, bound: i64) -> String {
        since(&self.backlog, settled)
            .replace("{position}", &position.to_string())
            .replace("{bound}", &bound.to_string())
    }

    /// Rows of a window that the settled snapshot does not see, after a position.
    pub(super) fn read_window(
        &self,
        settled: &Snapshot,
        window: &Snapshot,
        position: i64,
        limits: Limits,
    ) -> String {
        since(&self.read_window, settled)
            .replace("{position}", &position.to_string())
            .replace("{window}", &window.to_string())
            .replace("{limit_rows}", &limits.rows.to_string())
            .replace("{limit_bytes}", &limits.bytes.to_string())
    }
}

fn since(statement: &str, settled: &Snapshot) -> String {
    statement
        .replace("{settled}", &settled.xmax().to_string())
        .replace("{running}", &format!("{{{}}}", running(settled).join(",")))
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
            select {row} from {table} where {xid} >= $1::text::xid8 and {shard}
            union all
            select {row} from {table} where {xid} = any($2::text[]::xid8[]) and {shard}) as found
        limit $3 + 1),
    counted as materialized (select count(*) as found from unsettled),
    sized as (
        select *, sum(coalesce(octet_length(payload), 0) + pg_column_size(headers) + 200)
            over (order by seq rows between unbounded preceding and 1 preceding) as bytes_before
        from unsettled where (select found from counted) <= $3)
    select taken.snapshot, taken.last_number, counted.found, sized.*
    from taken cross join counted left join sized on coalesce(sized.bytes_before, 0) < $4
    order by sized.seq";

/// The first `seq` of a window, of whichever shard: to look at every row's key
/// would cost a scan of the table itself.
const BEFORE_FIRST: &str = "
    select min(seq) from (
        select min({seq}) as seq from {table}
        where {xid} >= '{settled}'::xid8 and pg_visible_in_snapshot({xid}, (select '{window}'::pg_snapshot))
        union all
        select min({seq}) from {table}
        where {xid} = any('{running}'::xid8[]) and pg_visible_in_snapshot({xid}, (select '{window}'::pg_snapshot))) as firsts";

/// Rows of a window after a position, in `seq` order by the primary key, no sort; at most so many rows and bytes. A size is
/// known without reading a large payload itself. `copy` takes no parameters: see [`Statements::read_window`].
const READ_WINDOW: &str = "
    select seq, event_id, topic, key, payload, headers, not_before from (
        select *, sum(coalesce(octet_length(payload), 0) + pg_column_size(headers) + 200)
            over (order by seq rows between unbounded preceding and 1 preceding) as bytes_before
        from (
            select {row} from {table}
            where {seq} > {position}
              and ({xid} >= '{settled}'::xid8 or {xid} = any((select '{running}'::text[]::xid8[])::xid8[]))
              and pg_visible_in_snapshot({xid}, (select '{window}'::pg_snapshot)) and {shard}
            order by {seq} limit {limit_rows}) as next) as sized
    where coalesce(bytes_before, 0) < {limit_bytes}
    order by seq";

/// What waits, counted up to a bound.
const BACKLOG: &str = "
    select count(*) as rows,
           coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::float8 as oldest
    from (select {created_at} as created_at from {table} where {xid} >= '{settled}'::xid8 and {seq} > {position} and {shard}
          union all
          select {created_at} from {table} where {xid} = any('{running}'::xid8[]) and {seq} > {position} and {shard}
          limit {bound}) as waiting";

/// Copies rows ($1: seq, $2: state, $3: error) into the parking table; what is there stays as it is. Only for the tenure
/// ($5) that has the source: its line is locked, so that a successor's claim comes wholly before or wholly after.
const PARK: &str = "
    with tenure as materialized (
        select from oncebox.relay_fence where shard = $6 and writer = $5 for share)
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

/// Keys that are blocked, and how many rows of each wait.
const BLOCKED: &str = "
    select topic, key, count(*) from oncebox.relay_parked
    where state in ('refused', 'waiting') and key is not null and {parked_shard} group by topic, key";

/// Rows that wait, with and without a key.
const BLOCKED_ROWS: &str = "
    select count(*) from oncebox.relay_parked where state in ('refused', 'waiting') and {parked_shard}";

/// Parked rows that are not passed: the settled snapshot ($1, $2) does not see the row, nor has the window in hand ($3) come
/// to it ($4).
const UNPASSED: &str = "
    select seq from oncebox.relay_parked as parked
    cross join lateral (select {xid} as xid from {table} where {seq} = parked.seq) as found
    where (xid >= $1::text::xid8 or xid = any($2::text[]::xid8[]))
      and not coalesce(pg_visible_in_snapshot(xid, $3::text::pg_snapshot) and parked.seq <= $4, false)
      and {parked_shard}";

/// Rows that may be published now: refused ones whose pause is over; where asked for ($3), rows behind none that is
/// refused; delayed ones whose time has come and whose key is not blocked. In their order, up to so many of each kind
/// ($1) and so many bytes ($2).
const DUE: &str = "
    with refused as (
        select * from oncebox.relay_parked
        where state = 'refused' and next_attempt_at <= clock_timestamp() and {parked_shard} order by seq limit $1),
    waiting as (
        select * from oncebox.relay_parked as behind
        where $3 and state = 'waiting' and {parked_shard}
          and not exists (
              select 1 from oncebox.relay_parked as head
              where head.topic = behind.topic and head.key_hash = behind.key_hash
                and head.state = 'refused' and head.seq < behind.seq)
        order by seq limit $1),
    delayed as (
        select * from oncebox.relay_parked as late
        where state = 'delayed' and not_before <= clock_timestamp() and {parked_shard}
          and not exists (
              select 1 from oncebox.relay_parked as head
              where head.topic = late.topic and head.key_hash = late.key_hash and head.state in ('refused', 'waiting'))
        order by not_before, seq limit $1),
    due as (
        select 1 as turn, seq as place, * from refused
        union all
        select 1, seq, * from waiting
        union all
        select 2, row_number() over (order by not_before, seq), * from delayed),
    sized as (
        select *, sum(coalesce(octet_length(payload), 0) + pg_column_size(headers) + 200)
            over (order by turn, place rows between unbounded preceding and 1 preceding) as bytes_before
        from due)
    select seq, event_id, topic, key, payload, headers, null::timestamptz as not_before, state
    from sized where coalesce(bytes_before, 0) < $2
    order by turn, place";

/// When the next row may be published, in seconds from now, and the last line of the audit. Rows that could be published
/// already are left to [`DUE`]: what is not among those is behind something.
const NEXT_DUE: &str = "
    select extract(epoch from least(
               (select min(next_attempt_at) from oncebox.relay_parked
                where state = 'refused' and next_attempt_at > clock_timestamp() and {parked_shard}),
               (select min(not_before) from oncebox.relay_parked
                where state = 'delayed' and not_before > clock_timestamp() and {parked_shard})) - clock_timestamp())::float8,
           coalesce((select max(id) from oncebox.relay_audit), 0)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_have_no_gaps_left() {
        let statements = Statements::of(&Table::default(), Shard::ONLY);
        let limits = Limits { rows: 1, bytes: 1 };
        let nothing = Snapshot::nothing();
        let window = statements.read_window(&nothing, &"3:9:3,5".parse().unwrap(), 0, limits);
        assert!(window.contains("'{}'::text[]") && window.contains("'3:9:3,5'::pg_snapshot"));
        assert_eq!(window.matches('{').count(), 1, "{window}");
        for asked in [
            statements.before_first(&nothing, &"3:9:3,5".parse().unwrap()),
            statements.backlog(&nothing, 7, 100),
        ] {
            assert_eq!(asked.matches('{').count(), 1, "{asked}");
            assert!(asked.contains("any('{}'::xid8[])"), "{asked}");
        }
        for statement in [
            statements.open_window,
            statements.park,
            statements.blocked,
            statements.blocked_rows,
            statements.unpassed,
            statements.due,
            statements.next_due,
        ] {
            assert!(!statement.contains('{'), "{statement}");
        }
    }
}
