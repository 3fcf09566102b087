//! Rows to publish: 400 bytes each, half of them random, over 10,000 keys, with the headers that a service's events have.

use anyhow::Context;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::ground::Ground;

/// Bytes of a payload.
pub(crate) const PAYLOAD_BYTES: u64 = 400;
/// Different keys.
pub(crate) const KEYS: u64 = 10_000;
/// Rows that one statement of ours asks for, so that progress can be told.
const STEP: u64 = 250_000;

/// Where rows go: the topic that is measured, and one that the row behind all others goes to. Whoever sees that row
/// knows that all are published, without reading a million of them meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) topic: String,
    pub(crate) end: String,
}

impl Stream {
    pub(crate) async fn new(ground: &Ground, label: &str) -> anyhow::Result<Self> {
        Ok(Self {
            topic: ground.topic(label).await?,
            end: ground.topic(&format!("{label}.end")).await?,
        })
    }
}

/// A payload: 25 times sixteen bytes, of which the first half is random.
pub(crate) const PAYLOAD: &str = "
    uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
    || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
    || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
    || substr(uuid_send(gen_random_uuid()), 1, 8) || convert_to(repeat('oncebox.', 25), 'utf8')";

/// The headers of the kit's events that are the same in kind for every event: seven.
const HEADERS: &str = "
    jsonb_build_object('ce_specversion', '1.0', 'ce_id', id::text, 'ce_type', 'oncebox.order.OrderPlaced',
        'ce_source', '/oncebox/order', 'ce_time', '2026-01-01T00:00:00.000000Z', 'content-type', 'application/avro',
        'id', id::text)";

/// Fills the kit's outbox with rows and the end row, in committed transactions of `a_transaction` rows.
pub(crate) async fn outbox(
    ground: &Ground,
    url: &str,
    stream: &Stream,
    rows: u64,
    a_transaction: u64,
) -> anyhow::Result<()> {
    ground.say(&format!("filling {rows} rows"));
    let topic = &stream.topic;
    let insert = move |from: String, to: String| {
        format!(
            "insert into oncebox.outbox (event_id, topic, key, payload, headers)
             select id, '{topic}', convert_to('order-' || n % {KEYS}, 'utf8'), {PAYLOAD}, {HEADERS}
             from (select n, gen_random_uuid() as id from generate_series({from}, {to}) as n) as numbered"
        )
    };
    let mut connection = PgConnection::connect(url).await?;
    in_transactions(&mut connection, rows, a_transaction, insert).await?;
    let end = format!(
        "insert into oncebox.outbox (event_id, topic, key, headers) values (gen_random_uuid(), '{}', 'end', '{{}}')",
        stream.end
    );
    sqlx::raw_sql(AssertSqlSafe(end))
        .execute(&mut connection)
        .await?;
    // As the table is a while after it was written; and no checkpoint of the filling falls into a measurement.
    for sql in ["vacuum analyze oncebox.outbox", "checkpoint"] {
        sqlx::raw_sql(sql).execute(&mut connection).await?;
    }
    Ok(())
}

/// Runs `insert(first, last)` for all rows, committed each `a_transaction` of them. Not flushed one by one: how quickly
/// a disk flushes is not what is measured here.
pub(crate) async fn in_transactions(
    connection: &mut PgConnection,
    rows: u64,
    a_transaction: u64,
    insert: impl Fn(String, String) -> String,
) -> anyhow::Result<()> {
    sqlx::raw_sql("set synchronous_commit = off")
        .execute(&mut *connection)
        .await?;
    let insert = insert(
        "first".into(),
        format!("least(first + {a_transaction} - 1, last)"),
    );
    let mut first = 1;
    while first <= rows {
        let last = (first + STEP - 1).min(rows);
        let block = format!(
            "do $fill$
             declare first bigint := {first}; last bigint := {last};
             begin
                 while first <= last loop
                     {insert};
                     commit;
                     first := first + {a_transaction};
                 end loop;
             end $fill$"
        );
        sqlx::raw_sql(AssertSqlSafe(block))
            .execute(&mut *connection)
            .await
            .with_context(|| format!("cannot write rows {first} to {last}"))?;
        first = last + 1;
    }
    Ok(())
}
