-- Which relay publishes this outbox. Judged by this database's clock, without session state: a row that is not renewed
-- in time is free for the next relay. It makes takeover quick; that two relays never publish both is the broker's doing.
create table oncebox.relay_lease (
    shard       integer     primary key,
    owner       uuid        not null,
    -- Host and process, for people and for a restart on the same host.
    holder      text        not null,
    since       timestamptz not null default clock_timestamp(),
    expires_at  timestamptz not null
) with (fillfactor = 10); -- updated every second: room for updates within the page, so that nothing grows
