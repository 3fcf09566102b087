//! The table that Debezium's router expects by default, its publication, and the slot that keeps its changes.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::super::fill::{KEYS, PAYLOAD, Stream, in_transactions};
use crate::ground::Ground;

/// Source: Debezium documentation, "Outbox Event Router", basic outbox table; the payload as bytes.
const CREATE: &str = "
    create table public.outbox (
        id uuid primary key, aggregatetype varchar(255) not null, aggregateid varchar(255) not null,
        type varchar(255) not null, payload bytea);
    create publication bench for table public.outbox with (publish = 'insert');";

/// One row, committed at once. $1 id, $2 topic, $3 key.
pub(super) const INSERT_ONE: &str = "
    insert into public.outbox (id, aggregatetype, aggregateid, type, payload)
    values ($1::uuid, $2::text, $3::text, 'OrderPlaced',
        convert_to(repeat(md5($1::uuid::text), 12) || left(md5($3::text), 16), 'utf8'))";

/// An outbox with its slot.
pub(super) struct Table {
    pub(super) url: String,
    pub(super) slot: String,
}

impl Table {
    pub(super) async fn create(ground: &Ground, label: &str) -> anyhow::Result<Self> {
        let (url, pool) = ground.database(label).await?;
        sqlx::raw_sql(CREATE).execute(&pool).await?;
        let slot = format!("{}_{label}", ground.name);
        // Before any row: a slot keeps what is written after it was made.
        sqlx::query("select pg_create_logical_replication_slot($1, 'pgoutput')")
            .bind(&slot)
            .execute(&pool)
            .await?;
        pool.close().await;
        Ok(Self { url, slot })
    }

    /// Fills as the kit's outbox is filled, and writes the end row.
    pub(super) async fn fill(
        &self,
        ground: &Ground,
        stream: &Stream,
        rows: u64,
        a_transaction: u64,
    ) -> anyhow::Result<()> {
        ground.say(&format!("filling {rows} rows"));
        let topic = &stream.topic;
        let insert = move |from: String, to: String| {
            format!(
                "insert into public.outbox (id, aggregatetype, aggregateid, type, payload)
                 select gen_random_uuid(), '{topic}', 'order-' || n % {KEYS}, 'OrderPlaced', {PAYLOAD}
                 from generate_series({from}, {to}) as n"
            )
        };
        let mut connection = PgConnection::connect(&self.url).await?;
        // What was published by an earlier drain. Not among what the publication publishes.
        sqlx::raw_sql("truncate public.outbox")
            .execute(&mut connection)
            .await?;
        in_transactions(&mut connection, rows, a_transaction, insert).await?;
        let end = format!(
            "insert into public.outbox (id, aggregatetype, aggregateid, type, payload)
             values (gen_random_uuid(), '{}', 'end', 'End', 'end'::bytea)",
            stream.end
        );
        sqlx::raw_sql(AssertSqlSafe(end))
            .execute(&mut connection)
            .await?;
        sqlx::raw_sql("checkpoint").execute(&mut connection).await?;
        Ok(())
    }
}
