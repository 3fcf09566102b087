-- How far a consumer that demands the order of sequences has come with each key of a topic. One row a key, written in
-- the transaction of the effects.
create table oncebox.sequences (
    consumer    text        not null,
    topic       text        not null,
    lane        uuid        not null,
    -- Everything up to here is finished or given up.
    last        bigint      not null,
    -- Finished beyond that, as pairs of first and last: what needs no turn, such as events of no interest.
    ahead       bigint[]    not null default '{}',
    -- Given up before it came, as pairs of first and last.
    missed      bigint[]    not null default '{}',
    -- Up to here what waits behind a gap that was given up is dead-lettered.
    dead_to     bigint,
    -- Raised by each change, so that nobody writes over what somebody else has changed.
    version     bigint      not null,
    moved_at    timestamptz not null default clock_timestamp(),
    primary key (consumer, topic, lane)
) with (fillfactor = 80);

-- The order in which a consumer that demands one takes the records of a key; null where it demands none.
alter table oncebox.parked add column sequence bigint;
create index parked_in_sequence on oncebox.parked
    (consumer, topic, "partition", lane, sequence nulls first, seq);

-- The sequence that a key's parked records wait for, and until when.
alter table oncebox.parked_keys add column waits_for bigint;
alter table oncebox.parked_keys add column waits_until timestamptz;
create index parked_keys_waiting on oncebox.parked_keys (consumer, topic, lane) where waits_for is not null;
