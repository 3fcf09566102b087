-- The delivery kit's own tables. They live in the service's database, because each of them
-- has to commit together with the service's own rows.
create schema if not exists oncebox;

-- Cache 1: a session that reserved a block of numbers would make seq disagree with commit order.
create sequence oncebox.outbox_seq cache 1;

-- Insert-only: rows are never updated and never deleted one by one; whole partitions are dropped.
create table oncebox.outbox (
    event_id   uuid        not null,
    seq        bigint      not null default nextval('oncebox.outbox_seq'),
    -- The top-level transaction, also inside a savepoint: what the relay's snapshot cursor compares.
    xid        xid8        not null default pg_current_xact_id(),
    topic      text        not null,
    key        bytea,
    -- Null is a tombstone for a compacted topic.
    payload    bytea,
    headers    jsonb       not null default '{}',
    -- clock_timestamp, not now(): now() is the start of the transaction, so a long transaction
    -- would put its rows into a partition that retention may already have finished with.
    created_at timestamptz not null default clock_timestamp(),
    primary key (seq, created_at),
    constraint outbox_topic_named check (topic <> ''),
    constraint outbox_headers_object check (jsonb_typeof(headers) = 'object'),
    -- What Kafka would refuse is refused here, in the writer's own transaction. Dead letters and
    -- replays carry a whole foreign record plus its error headers, and their topics allow more: a record that
    -- could be read can also be kept.
    constraint outbox_key_size check (
        octet_length(key) <=
            case when topic like '%.dlq' or topic like '%.replay' then 8388608 else 16384 end),
    constraint outbox_payload_size check (
        octet_length(payload) <=
            case when topic like '%.dlq' or topic like '%.replay' then 8388608 else 1000000 end),
    constraint outbox_headers_size check (
        pg_column_size(headers) <=
            case when topic like '%.dlq' or topic like '%.replay' then 16777216 else 262144 end)
) partition by range (created_at);

-- The relay reads "xid >= the previous snapshot's xmax" and "xid in its list of then running ones".
create index outbox_xid_seq on oncebox.outbox (xid, seq);

-- Takes the rows if nobody made partitions ahead: late maintenance never fails a business transaction.
create table oncebox.outbox_default partition of oncebox.outbox default;

alter sequence oncebox.outbox_seq owned by oncebox.outbox.seq;

-- One row for each event that a consumer has finished with. Range partitioned by event id: a UUIDv7
-- begins with its time, so the unique key needs no second column and old days can be dropped.
create table oncebox.inbox (
    consumer        text        not null,
    event_id        uuid        not null,
    status          text        not null check (status in ('processed', 'dead')),
    handled_at      timestamptz not null default clock_timestamp(),
    attempts        integer     not null default 1,
    first_failed_at timestamptz,
    primary key (consumer, event_id)
) partition by range (event_id);

create table oncebox.inbox_default partition of oncebox.inbox default;

-- Failed attempts of the record at the head of a partition. Counted here and not in memory, so that
-- a restart, a rebalance or another partition's success neither resets nor multiplies them.
create table oncebox.attempts (
    consumer        text        not null,
    topic           text        not null,
    "partition"     integer     not null,
    "offset"        bigint      not null,
    event_id        uuid        not null,
    attempts        integer     not null,
    first_failed_at timestamptz not null,
    last_failed_at  timestamptz not null,
    next_attempt_at timestamptz not null,
    error_class     text        not null,
    error_code      text        not null,
    error_message   text        not null,
    primary key (consumer, topic, "partition", "offset")
);

-- What the schema registry said, so that a service restarts while the registry is away.
create table oncebox.schema_cache (
    id          integer     primary key,
    schema      text        not null,
    cached_at   timestamptz not null default clock_timestamp()
);
create table oncebox.schema_ids (
    subject     text        not null,
    fingerprint text        not null,
    id          integer     not null,
    primary key (subject, fingerprint)
);

-- A copy of the relay's cursor, for lag figures and partition dropping. The one in Kafka decides.
create table oncebox.relay_cursor (
    shard      integer     primary key,
    cursor     jsonb       not null,
    updated_at timestamptz not null default clock_timestamp()
);

-- Makes the daily partitions of outbox and inbox from today on. Each is built beside its parent and
-- then attached: attaching takes a lock that lets readers and writers of the parent go on, which
-- "create table ... partition of" does not. Returns how many partitions it made.
create function oncebox.ensure_partitions(days_ahead integer default 7) returns integer
language plpgsql as $$
declare
    made integer := 0;
    day date;
    name text;
    low uuid;
    high uuid;
begin
    -- Two services of one database may start at once.
    perform pg_advisory_xact_lock(hashtext('oncebox.ensure_partitions'));
    for day in select generate_series(
        (now() at time zone 'utc')::date, (now() at time zone 'utc')::date + days_ahead, interval '1 day')::date
    loop
        name := 'outbox_' || to_char(day, 'YYYYMMDD');
        if to_regclass('oncebox.' || name) is null then
            execute format('create table oncebox.%I (like oncebox.outbox including defaults including constraints)', name);
            execute format(
                'alter table oncebox.outbox attach partition oncebox.%I for values from (%L) to (%L)',
                name, day::timestamp at time zone 'utc', (day + 1)::timestamp at time zone 'utc');
            made := made + 1;
        end if;
        name := 'inbox_' || to_char(day, 'YYYYMMDD');
        if to_regclass('oncebox.' || name) is null then
            low := oncebox.uuid_floor(day::timestamp at time zone 'utc');
            high := oncebox.uuid_floor((day + 1)::timestamp at time zone 'utc');
            execute format('create table oncebox.%I (like oncebox.inbox including defaults including constraints)', name);
            execute format('alter table oncebox.inbox attach partition oncebox.%I for values from (%L) to (%L)', name, low, high);
            made := made + 1;
        end if;
    end loop;
    return made;
end $$;

-- The smallest UUIDv7-ordered value of an instant: 48 bits of milliseconds, then zeros (RFC 9562, 5.7).
create function oncebox.uuid_floor(at timestamptz) returns uuid
language sql immutable as $$
    select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;
