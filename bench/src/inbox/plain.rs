//! What a team writes by hand: one transaction a record, with an insert that finds duplicates, then the offset.

use anyhow::Context;
use oncebox::{Codec, Message as _};
use rdkafka::Message as _;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::message::Headers as _;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::event::Move;

/// Consumes until it is told to stop.
pub(crate) async fn run(
    kafka: &str,
    group: &str,
    topic: &str,
    pool: &PgPool,
    codec: &Codec,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let consumer: StreamConsumer = oncebox::kafka::client_config(kafka)
        .set("group.id", group)
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.offset.store", "false")
        .set("auto.commit.interval.ms", "200")
        .create()?;
    consumer.subscribe(&[topic])?;
    loop {
        let message = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            message = consumer.recv() => message?,
        };
        let id = message
            .headers()
            .and_then(|headers| headers.iter().find(|header| header.key == "id"))
            .and_then(|header| header.value)
            .context("a record without id")?;
        let id = Uuid::try_parse_ascii(id)?;
        let moved = Move::decode(codec, message.payload())
            .await?
            .context("another event type")?;
        let moved = moved.moved();
        let mut tx = pool.begin().await?;
        let fresh = sqlx::query("insert into seen (event_id) values ($1) on conflict do nothing")
            .bind(id)
            .execute(&mut *tx)
            .await?
            .rows_affected();
        if fresh == 1 {
            sqlx::query(
                "update accounts set balance = balance + $2, events = events + 1 where id = $1",
            )
            .bind(moved.account)
            .bind(moved.amount)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        consumer.store_offset_from_message(&message)?;
    }
}
