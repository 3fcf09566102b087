-- Stock and its reservations. Every statement that locks several rows locks ledger rows first, by order id,
-- then stock rows, by product: two instances can wait for each other only in that order, never in a circle.

-- Collation C: the order of locks and of pages is the byte order that the program sorts by, on every server.
create table stock (
    product    text collate "C" primary key,
    name       text        not null default '',
    on_hand    bigint      not null,
    -- What open reservations hold: the sum of their lines.
    reserved   bigint      not null default 0,
    version    bigint      not null default 1,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    -- The last barrier: no mistake in the program sells what is not there.
    constraint stock_reserved_is_there check (reserved between 0 and on_hand),
    constraint stock_on_hand_countable check (on_hand <= 1000000000000)
);

-- The ledger: one row an order, never deleted. A command that comes again finds its answer here.
create table reservations (
    order_id   uuid        primary key,
    status     text        not null check (status in ('reserved', 'rejected', 'committed', 'released')),
    -- Of a rejected order: which products were short, [{"product", "wanted", "available"}].
    shortages  jsonb,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    constraint reservations_rejected_says_why check ((status = 'rejected') = (shortages is not null))
);

-- What an order asked for. Written with its reservation and never changed.
create table reservation_lines (
    order_id uuid   not null references reservations (order_id),
    product  text collate "C" not null,
    quantity bigint not null check (quantity > 0),
    primary key (order_id, product)
);

-- What holds this product? Asked by operators and by the invariants, never by the hot path.
create index reservation_lines_by_product on reservation_lines (product);
