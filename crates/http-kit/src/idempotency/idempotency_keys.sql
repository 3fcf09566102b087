-- Idempotency keys and the first answer to each.
create table if not exists idempotency_keys (
    scope       text        not null,
    key         text        not null check (length(key) between 1 and 255),
    fingerprint bytea       not null check (length(fingerprint) = 32),
    status      smallint    not null check (status between 100 and 999),
    headers     jsonb       not null,
    body        bytea       not null,
    created_at  timestamptz not null default clock_timestamp(),
    primary key (scope, key)
);
-- Old keys are forgotten by age.
create index if not exists idempotency_keys_created_at on idempotency_keys (created_at);
