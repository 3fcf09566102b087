-- Keys whose records are parked: a record that keeps failing, and every later record of its key behind it, so that all
-- other keys go on. One row for each such key of a partition, with what is known of its first record.
create table oncebox.parked_keys (
    consumer        text        not null,
    topic           text        not null,
    "partition"     integer     not null,
    -- Made from the key (which may be too large for an index), or from its place for a record without key.
    lane            uuid        not null,
    key             bytea,
    -- Failed attempts of the first record, and what came of the last of them.
    attempts        integer     not null default 0,
    first_failed_at timestamptz,
    last_failed_at  timestamptz,
    next_attempt_at timestamptz not null default clock_timestamp(),
    error_class     text,
    error_code      text,
    error_message   text,
    -- The dead event for which the key waits until an operator decides.
    held_for        uuid,
    -- The first record's event, where an operator asked to give it up.
    doomed          uuid,
    primary key (consumer, topic, "partition", lane)
);
create index parked_keys_due on oncebox.parked_keys (consumer, topic, "partition", next_attempt_at)
    where held_for is null;
create index parked_keys_held on oncebox.parked_keys (consumer, held_for) where held_for is not null;

-- The records themselves, byte for byte, in the order of their arrival.
create table oncebox.parked (
    seq             bigint      generated always as identity,
    consumer        text        not null,
    topic           text        not null,
    "partition"     integer     not null,
    lane            uuid        not null,
    "offset"        bigint      not null,
    event_id        uuid        not null,
    key             bytea,
    payload         bytea,
    headers         jsonb       not null,
    "timestamp"     timestamptz,
    parked_at       timestamptz not null default clock_timestamp(),
    primary key (consumer, topic, "partition", lane, seq),
    -- A record that is delivered again is not parked again. The event id is part of it because a topic that was
    -- made anew has other records at the same offsets.
    unique (consumer, topic, "partition", "offset", event_id),
    -- A parked record without its key would never be tried again: a mistake must be an error, not a loss.
    foreign key (consumer, topic, "partition", lane) references oncebox.parked_keys
);
