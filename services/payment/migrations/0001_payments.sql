-- One payment for an order, and what was asked of the provider for it.

create table merchant_accounts (
  currency   text primary key check (currency ~ '^[A-Z]{3}$'),
  account    text not null check (length(account) between 1 and 64),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table payments (
  order_id         uuid primary key,
  -- What to authorise; all null where a void came before any authorisation.
  customer_id      text,
  amount_minor     bigint check (amount_minor > 0),
  currency         text check (currency ~ '^[A-Z]{3}$'),
  payment_token    text,
  merchant_account text,
  -- What is settled. That an outcome is unknown is seen from the operations: calls > answers and no outcome.
  standing         text not null default 'created'
                   check (standing in ('created', 'authorized', 'declined', 'captured', 'voided', 'refunded')),
  decline_code     text,
  decline_reason   text,
  created_at       timestamptz not null default now(),
  updated_at       timestamptz not null default now(),
  check ((standing = 'declined') = (decline_code is not null and decline_reason is not null)),
  check (num_nulls(customer_id, amount_minor, currency, payment_token) in (0, 4))
);

-- Lists go through it page by page, newest first.
create index payments_newest on payments (created_at desc, order_id desc);

-- The intents: a row is committed before the provider is called, so a call that nobody heard the end of is known.
create table operations (
  order_id        uuid not null references payments,
  operation       text not null check (operation in ('authorize', 'capture', 'void', 'refund')),
  idempotency_key text not null,
  calls           integer not null default 0,
  -- Calls that came to an end, with a result or an error.
  answers         integer not null default 0,
  provider_id     text,
  last_error      text,
  first_called_at timestamptz not null default clock_timestamp(),
  last_called_at  timestamptz not null default clock_timestamp(),
  -- When the outcome became known; null: not yet.
  settled_at      timestamptz,
  primary key (order_id, operation)
);

-- Few at any time: what operators look for, and what the gauge counts.
create index operations_unsettled on operations (order_id) where settled_at is null;
