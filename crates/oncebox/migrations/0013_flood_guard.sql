-- What a partition's flood guard must not forget when its owner changes: the dead-letter slots of the present window,
-- and whether it is closed. Written in the transactions that spend slots, so a crash cannot spend one twice.
create table oncebox.flood_guard (
    consumer       text        not null,
    topic          text        not null,
    "partition"    integer     not null,
    -- Counts the writes: a transaction that commits late does not undo a younger one.
    revision       bigint      not null,
    window_ends_at timestamptz not null,
    successes      bigint      not null,
    spent          bigint      not null,
    -- Since when it is closed, and the code of the failure that closed it.
    closed_at      timestamptz,
    closed_for     text,
    -- From when on it may give up transiently failing records again, after it was closed.
    calm_from      timestamptz,
    primary key (consumer, topic, "partition")
);
