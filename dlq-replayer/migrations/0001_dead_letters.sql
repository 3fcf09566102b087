-- The index of dead letters. The records themselves stay in their topics for as long as Kafka keeps
-- them; this copy is what is searched, shown and replayed.
create table dead_letters (
    id               bigint      primary key generated always as identity,
    topic            text        not null,
    "partition"      integer     not null,
    "offset"         bigint      not null,
    -- The record's timestamp. Part of its identity, because a topic that is deleted and made anew
    -- counts its offsets from zero again.
    recorded_at      timestamptz not null,
    source_topic     text,
    source_partition integer,
    source_offset    bigint,
    "group"          text,
    event_id         uuid        not null,
    key              bytea,
    value            bytea,
    -- The author's headers, in the outbox's shape: a replay carries them unchanged.
    headers          jsonb       not null,
    -- What was added on the way to the dead-letter topic.
    error_headers    jsonb       not null,
    error_class      text,
    error_code       text,
    error_message    text,
    error_site       text,
    service_version  text,
    attempts         integer,
    first_failed_at  timestamptz,
    last_failed_at   timestamptz,
    -- topic/partition/offset of the dead letter whose replay failed again as this one.
    replay_of        text,
    prior_replays    integer     not null default 0,
    replay_topic     text,
    -- Why it cannot be replayed, if it cannot.
    unreplayable     text,
    status           text        not null default 'open' check (status in ('open', 'replayed')),
    replay_count     integer     not null default 0,
    indexed_at       timestamptz not null default clock_timestamp(),
    constraint dead_letters_record unique (topic, "partition", "offset", recorded_at),
    constraint dead_letters_goes_somewhere_or_not check ((replay_topic is null) = (unreplayable is not null))
);

create index dead_letters_topic on dead_letters (topic, id);
create index dead_letters_group on dead_letters ("group", id);
create index dead_letters_event on dead_letters (event_id);
create index dead_letters_code on dead_letters (error_code, id);
create index dead_letters_replay_of on dead_letters (replay_of) where replay_of is not null;
create index dead_letters_open on dead_letters (topic, "group", id) where status = 'open';
create index dead_letters_indexed on dead_letters (indexed_at);
-- A key may be longer than a btree entry can be.
create index dead_letters_key on dead_letters using hash (key);

-- Who replayed what, when and why. Rows are added and never changed.
create table replays (
    id           uuid        primary key,
    requested_at timestamptz not null default clock_timestamp(),
    actor        text        not null,
    reason       text,
    -- What was asked for, as it was asked for.
    selection    jsonb       not null,
    letters      bigint      not null
);

create table replayed_letters (
    letter_id    bigint      not null,
    replay_id    uuid        not null references replays (id),
    replay_count integer     not null,
    replay_topic text        not null,
    primary key (letter_id, replay_id)
);
create index replayed_letters_replay on replayed_letters (replay_id, letter_id);
