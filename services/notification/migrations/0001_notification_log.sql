-- What customers were told, or are to be told: one row for each text that an order gets.

create table notification_log (
    -- version 7: newer notifications have higher ids, so lists page by the key itself
    id           uuid primary key,
    order_id     uuid not null,
    channel      text not null check (channel in ('email', 'log')),
    -- the address that the order stated, or empty
    recipient    text not null check (length(recipient) <= 320),
    template     text not null check (length(template) between 1 and 64),
    subject      text not null check (length(subject) <= 200),
    status       text not null default 'pending' check (status in ('pending', 'sent', 'failed')),
    -- how often a mail server was given it and answered, or should have; outages are not counted
    attempts     integer not null default 0 check (attempts >= 0),
    -- what was in the way the last time
    error        text,
    created_at   timestamptz not null default clock_timestamp(),
    sent_at      timestamptz,
    -- when the event that tells of the end was written
    announced_at timestamptz,
    -- the intent: committed before anything is sent, and the reason why nothing is sent twice
    unique (order_id, template),
    check ((status = 'sent') = (sent_at is not null)),
    check (status <> 'failed' or error is not null)
);

-- Addresses are compared without regard to case, as people write them.
create index notification_log_by_recipient on notification_log (lower(recipient), id desc);
-- Few at any time: what an operator looks for during an outage.
create index notification_log_pending on notification_log (id) where status = 'pending';
