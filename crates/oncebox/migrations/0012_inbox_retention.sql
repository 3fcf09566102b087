-- The inbox forgets. An event's row is kept for the retention since it was handled; whole days are dropped, and what lies in
-- the default partition (ids without a time, or of days that have no partition any more) is deleted by age.

-- What is forgotten: no row of an event that was handled before that time need be there any more. One row.
create table oncebox.inbox_memory (
    one              boolean     primary key default true check (one),
    forgotten_before timestamptz not null default 'epoch',
    -- When somebody last saw to it: consumers take turns by this, without session state.
    attended_at      timestamptz not null default 'epoch'
);
insert into oncebox.inbox_memory default values;

-- Consumers of this database and how long each wants to be remembered; the longest counts.
create table oncebox.inbox_consumers (
    consumer  text        primary key,
    retention interval    not null,
    seen_at   timestamptz not null default clock_timestamp()
);

-- How far each consumer has come, noted about once a minute. A record before that place is finished even when its row
-- is forgotten.
create table oncebox.inbox_positions (
    consumer    text        not null,
    topic       text        not null,
    "partition" integer     not null,
    "offset"    bigint      not null,
    noted_at    timestamptz not null default clock_timestamp(),
    primary key (consumer, topic, "partition")
) with (fillfactor = 50);

-- Events that were dead-lettered because nothing is known of them any more: such a dead letter is no proof that the
-- event was never handled, so its replay is refused again.
create table oncebox.inbox_refused (
    consumer   text        not null,
    event_id   uuid        not null,
    refused_at timestamptz not null default clock_timestamp(),
    primary key (consumer, event_id)
);
create index inbox_refused_at on oncebox.inbox_refused (refused_at);

-- What is old in the default partition is found by this. Built under a lock that lets readers go on; whoever handles an event
-- of the default partition waits meanwhile, about a second for a million rows. The lock itself is asked for in short
-- tries, so that nobody queues behind it.
do $$
begin
    for attempt in 1..300 loop
        begin
            perform set_config('lock_timeout', '100ms', true);
            create index inbox_default_handled_at on oncebox.inbox_default (handled_at);
            perform set_config('lock_timeout', '0', true);
            return;
        exception when lock_not_available or deadlock_detected then
            perform pg_sleep(0.1);
        end;
    end loop;
    raise exception 'oncebox.inbox_default is locked all the time, migrate when it is less busy';
end $$;

-- As before, but attaching a day to the inbox reads its whole default partition under a lock that keeps handlers out. Where
-- that is large, the consumer makes the day in steps that lock nobody out (crates/oncebox/src/retention/days.rs).
create or replace function oncebox.ensure_partition(parent text, day date, low text, high text) returns integer
language plpgsql as $$
declare
    name text := parent || '_' || to_char(day, 'YYYYMMDD');
begin
    if to_regclass('oncebox.' || name) is not null then
        return 0;
    end if;
    -- 64 MB are read in less than 100 ms.
    if parent = 'inbox' and pg_relation_size('oncebox.inbox_default') > 67108864 then
        return 0;
    end if;
    execute format('create table oncebox.%I (like oncebox.%I including defaults including constraints)', name, parent);
    execute format('alter table oncebox.%I attach partition oncebox.%I for values from (%s) to (%s)', parent, name, low, high);
    return 1;
exception
    when check_violation or lock_not_available or deadlock_detected then
        raise warning 'partition % not made, tried again with the next round: %', name, sqlerrm;
        return 0;
end $$;
