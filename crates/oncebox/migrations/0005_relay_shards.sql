-- How a source is divided among relays: by hash of the key into so many shards, each published by one relay at a time with
-- a cursor of its own. Without a row it is one shard that begins at the beginning.
create table oncebox.relay_layout (
    only_one      boolean     primary key default true check (only_one),
    -- Names this division for good: cursors and the broker's fences belong to it, and none is ever used again.
    id            uuid        not null,
    shards        integer     not null check (shards between 1 and 32),
    -- Where each shard begins.
    beginnings    jsonb       not null default '[]',
    -- Who is changing it; until that time, unless renewed.
    change        uuid,
    change_holder text,
    change_until  timestamptz
) with (fillfactor = 10);

-- Relays that are at work on this source, for the even spread of its shards.
create table oncebox.relay_member (
    owner      uuid        primary key,
    holder     text        not null,
    expires_at timestamptz not null
) with (fillfactor = 10);
