//! Who may commit for a partition: an epoch that each assignment raises and each transaction checks under a lock.
//!
//! Kafka alone cannot stop a process that slept through a rebalance from committing to the database when it wakes.

use std::time::Duration;

use sqlx::{PgConnection, PgPool};

/// How long a transaction of the former owner may go on when the partition is somebody else's already.
const GRACE: Duration = Duration::from_secs(1);

/// One partition of a topic, for a consumer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) consumer: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
}

/// Raises the partition's epoch and returns it. From then on no transaction of an earlier owner commits: those that
/// have checked already are waited for, and ended where they do not end by themselves.
pub(crate) async fn raise(pool: &PgPool, place: Place<'_>) -> Result<i64, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let this: i32 = sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(&mut *connection)
        .await?;
    let raising = sqlx::query_scalar(
        r#"insert into oncebox.ownership as present (consumer, topic, "partition", epoch) values ($1, $2, $3, 1)
           on conflict (consumer, topic, "partition") do update
               set epoch = present.epoch + 1, raised_at = clock_timestamp()
           returning epoch"#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(place.partition)
    .fetch_one(&mut *connection);
    tokio::pin!(raising);
    loop {
        tokio::select! {
            biased;
            epoch = &mut raising => return epoch,
            () = tokio::time::sleep(GRACE) => end_blockers(pool, place, this).await?,
        }
    }
}

/// A process that is frozen inside a transaction keeps its lock as long as its connection lives. The server ends the
/// connection; it only ever blocks this because it acts for a partition that is not its own any more.
async fn end_blockers(pool: &PgPool, place: Place<'_>, waiting: i32) -> Result<(), sqlx::Error> {
    let ended: Vec<i32> = sqlx::query_scalar(
        "select pid from unnest(pg_blocking_pids($1)) as pid where pg_terminate_backend(pid)",
    )
    .bind(waiting)
    .fetch_all(pool)
    .await?;
    if !ended.is_empty() {
        tracing::warn!(
            group = place.consumer,
            topic = place.topic,
            partition = place.partition,
            connections = ended.len(),
            "the partition's former owner held a transaction open, its connection is ended"
        );
    }
    Ok(())
}

/// Whether the partition is still owned at that epoch. If so, it stays so until the transaction ends.
pub(crate) async fn check(
    tx: &mut PgConnection,
    place: Place<'_>,
    epoch: i64,
) -> Result<bool, sqlx::Error> {
    let owned: Option<i32> = sqlx::query_scalar(
        r#"select 1 from oncebox.ownership
           where consumer = $1 and topic = $2 and "partition" = $3 and epoch = $4 for share"#,
    )
    .bind(place.consumer)
    .bind(place.topic)
    .bind(place.partition)
    .bind(epoch)
    .fetch_optional(tx)
    .await?;
    Ok(owned.is_some())
}
