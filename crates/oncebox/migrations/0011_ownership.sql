-- Who may commit for a partition. Each assignment raises the epoch; each transaction of the consumer locks the row
-- in share mode at its own epoch. Whoever was replaced without noticing finds another epoch and commits nothing.
create table oncebox.ownership (
    consumer    text        not null,
    topic       text        not null,
    "partition" integer     not null,
    epoch       bigint      not null,
    raised_at   timestamptz not null default clock_timestamp(),
    primary key (consumer, topic, "partition")
);
