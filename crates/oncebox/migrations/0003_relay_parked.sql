-- Not published before this time; absent is at once.
alter table oncebox.outbox add column not_before timestamptz;

-- Outbox rows that the relay has passed and not published: refused by the broker, behind a refused row of their key, or
-- delayed. A copy each, so that the outbox's day can be dropped. What is published from here is deleted from here.
create table oncebox.relay_parked (
    -- The outbox row's.
    seq             bigint      primary key,
    event_id        uuid        not null,
    topic           text        not null,
    key             bytea,
    payload         bytea,
    headers         jsonb       not null,
    created_at      timestamptz,
    not_before      timestamptz,
    parked_at       timestamptz not null default clock_timestamp(),
    -- refused: tried again at next_attempt_at. waiting: behind a refused row of its key. delayed: until not_before.
    -- dead: passed over by policy or by an operator, kept to be looked at.
    state           text        not null check (state in ('refused', 'waiting', 'delayed', 'dead')),
    error           text,
    attempts        integer     not null default 0,
    next_attempt_at timestamptz not null default clock_timestamp(),
    -- A key may be larger than what an index takes.
    key_hash        bytea       generated always as (sha256(key)) stored
);
create index relay_parked_key on oncebox.relay_parked (topic, key_hash, seq) where state in ('refused', 'waiting');
create index relay_parked_refused on oncebox.relay_parked (next_attempt_at) where state = 'refused';
create index relay_parked_waiting on oncebox.relay_parked (seq) where state = 'waiting';
create index relay_parked_delayed on oncebox.relay_parked (not_before, seq) where state = 'delayed';
create index relay_parked_dead on oncebox.relay_parked (parked_at) where state = 'dead';

-- Which tenure of which relay may park. A relay that slept while another took over would park again what that one has
-- published since; the broker can refuse what it publishes, and only this can refuse what it parks.
create table oncebox.relay_fence (
    shard  integer primary key,
    writer uuid    not null
);

-- What operators did to parked rows and cursors, and why.
create table oncebox.relay_audit (
    id     bigint      generated always as identity primary key,
    at     timestamptz not null default clock_timestamp(),
    actor  text        not null,
    action text        not null,
    reason text        not null,
    rows   bigint      not null,
    detail jsonb       not null default '{}'
);
