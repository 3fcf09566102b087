-- Orders, the steps that each went through, and nothing that could be derived from them.

create table orders (
    -- version 7: newer orders have higher ids, so lists page by the key itself
    order_id      uuid primary key,
    customer_id   text not null check (length(customer_id) between 1 and 64),
    status        text not null check (status in ('CREATED', 'RESERVED', 'AUTHORIZED', 'PAID', 'CANCELLED')),
    verdict       text not null check (verdict in ('pending', 'confirmed', 'rejected', 'cancelled')),
    stock         text not null,
    payment       text not null,
    currency      text not null check (length(currency) = 3),
    total_minor   bigint not null check (total_minor > 0),
    email         text,
    -- always read and written whole, with their order
    lines         jsonb not null check (jsonb_typeof(lines) = 'array'),
    -- needed for one command; erased by the order's first transition
    payment_token text,
    reason_code   text,
    reason        text,
    correlation   text not null,
    -- how many entries the timeline has: every change adds at least one
    version       bigint not null check (version > 0),
    placed_at     timestamptz not null,
    updated_at    timestamptz not null,
    decided_at    timestamptz,
    check ((verdict = 'pending') = (decided_at is null)),
    check ((status = 'CANCELLED') = (reason_code is not null))
) with (fillfactor = 75);

-- No index names a column that changes at every step (status, stock, payment, version, updated_at): the
-- steps of an order then stay in its page (heap-only updates) and touch no index but at the verdict.
create index orders_by_customer on orders (customer_id, order_id desc);
create index orders_by_verdict on orders (verdict, order_id desc);
create index orders_called_off on orders (order_id desc) where verdict in ('rejected', 'cancelled');
create index orders_pending on orders (placed_at) where verdict = 'pending';

create table order_timeline (
    order_id       uuid not null,
    entry          bigint not null,
    step           text not null,
    status         text not null,
    detail         text,
    -- what other services were asked to do at this step
    commands       text[] not null default '{}',
    source         text not null check (source in ('request', 'event', 'clock')),
    cause_event_id uuid,
    cause_type     text,
    correlation    text not null,
    trace_id       text,
    at             timestamptz not null,
    primary key (order_id, entry)
);
