-- As before, but a day that cannot have its partition does not keep the others from getting theirs: rows of that day
-- may lie in the default partition already, or somebody may hold a lock for longer than writers should wait behind us.
create or replace function oncebox.ensure_partitions(days_ahead integer default 7) returns integer
language plpgsql
set lock_timeout = '30s'
as $$
declare
    made integer := 0;
    day date;
begin
    -- Two services of one database may start at once.
    perform pg_advisory_xact_lock(hashtext('oncebox.ensure_partitions'));
    -- From here on writers may queue behind a lock that this waits for. Undone when the function returns, as the
    -- function sets it itself.
    perform set_config('lock_timeout', '100ms', true);
    for day in select generate_series(
        (now() at time zone 'utc')::date, (now() at time zone 'utc')::date + days_ahead, interval '1 day')::date
    loop
        made := made + oncebox.ensure_partition(
            'outbox', day, quote_literal(day::timestamp at time zone 'utc'),
            quote_literal((day + 1)::timestamp at time zone 'utc'));
        made := made + oncebox.ensure_partition(
            'inbox', day, quote_literal(oncebox.uuid_floor(day::timestamp at time zone 'utc')),
            quote_literal(oncebox.uuid_floor((day + 1)::timestamp at time zone 'utc')));
    end loop;
    return made;
end $$;

-- Makes one day's partition if it is not there: built beside its parent and then attached. Returns how many it made.
create function oncebox.ensure_partition(parent text, day date, low text, high text) returns integer
language plpgsql as $$
declare
    name text := parent || '_' || to_char(day, 'YYYYMMDD');
begin
    if to_regclass('oncebox.' || name) is not null then
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
