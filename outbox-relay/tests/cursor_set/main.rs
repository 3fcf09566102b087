//! The database under the cursor: restored from a dump, set back, its sequence reset; and the ways on, by the command line.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod promotion;
mod world;

use sqlx::AssertSqlSafe;
use testkit::TestDb;

use crate::world::{PATIENCE, World, copy_of};

/// Transaction ids of the cluster that the dump comes from begin here.
const FAR: u64 = 1_000_000_000_000;

/// What a dump carries over: rows with their transaction ids, the copy of the cursor, the sequence. With `far` as from
/// another cluster, whose transaction ids are far ahead.
async fn restored(from: &TestDb, far: bool) -> TestDb {
    let to = TestDb::new("restored").await;
    let rows: Vec<(String, i64, String, Vec<u8>)> =
        sqlx::query_as("select topic, seq, xid::text, payload from oncebox.outbox order by seq")
            .fetch_all(from.pool())
            .await
            .unwrap();
    let mut copy = copy_of(from.pool()).await.unwrap();
    if far {
        copy.identity.system = "1".into();
        let xmax = copy.settled.xmax() + FAR;
        copy.settled = format!("{xmax}:{xmax}:").parse().unwrap();
    }
    sqlx::query("insert into oncebox.relay_cursor (shard, cursor) values (0, $1)")
        .bind(sqlx::types::Json(copy))
        .execute(to.pool())
        .await
        .unwrap();
    let moved = |xid: &str| (xid.parse::<u64>().unwrap() + if far { FAR } else { 0 }).to_string();
    for (topic, seq, xid, payload) in rows {
        sqlx::query(
            "insert into oncebox.outbox (event_id, topic, key, payload, seq, xid, created_at)
             select gen_random_uuid(), $1, 'k', $2, $3, $4::text::xid8, updated_at - interval '1 second'
             from oncebox.relay_cursor",
        )
        .bind(topic)
        .bind(payload)
        .bind(seq)
        .bind(moved(&xid))
        .execute(to.pool())
        .await
        .unwrap();
    }
    sqlx::raw_sql("select setval('oncebox.outbox_seq', 7)")
        .execute(to.pool())
        .await
        .unwrap();
    to
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_is_refused_and_adopted_without_loss_or_repetition() {
    for far in [false, true] {
        let world = World::new().await;
        let before = world.published_five_of_seven().await;
        let after = restored(&before, far).await;
        // A service that is back before the relay.
        world.insert(after.pool(), &["8"]).await;
        let _served = world.start(after.url());
        world.stopped("relay.wrong_database").await;
        assert_eq!(world.texts(0).await.len(), 5, "nothing before it is told");
        let (_, shown, _) = world.relay(&["cursor", "show"]).await;
        assert!(shown.contains("beside the outbox, of "), "{shown}");
        world
            .set(&["cursor", "adopt", "--reason", "restored"])
            .await;
        assert_eq!(world.texts(8).await[5..], ["6", "7", "8"], "far: {far}");
        world.insert(after.pool(), &["9"]).await;
        assert_eq!(world.texts(9).await[8..], ["9"]);
        // Given again, it publishes nothing again.
        let copied = testkit::eventually("the copy", PATIENCE, async || {
            copy_of(after.pool())
                .await
                .filter(|copy| copy.last_seq >= 9)
        })
        .await;
        assert!(copied.settled.xmax() < FAR);
        world.set(&["cursor", "adopt", "--reason", "again"]).await;
        world.insert(after.pool(), &["10"]).await;
        assert_eq!(world.texts(10).await[9..], ["10"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_restored_database_all_or_nothing_may_be_published_again() {
    for far in [false, true] {
        let world = World::new().await;
        let before = world.published_five_of_seven().await;
        let after = restored(&before, far).await;
        let served = world.start(after.url());
        world.stopped("relay.wrong_database").await;
        world
            .set(&["cursor", "set", "--at", "now", "--reason", "not needed"])
            .await;
        world.insert(after.pool(), &["8"]).await;
        assert_eq!(world.texts(6).await[5..], ["8"], "far: {far}");
        drop(served);
        let again = restored(&before, far).await;
        let _served = world.start(again.url());
        world.stopped("relay.wrong_database").await;
        world
            .set(&["cursor", "set", "--at", "begin", "--reason", "all of it"])
            .await;
        let texts = world.texts(13).await;
        assert_eq!(
            texts[6..],
            ["1", "2", "3", "4", "5", "6", "7"],
            "far: {far}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_that_was_set_back_is_noticed_before_anything_is_published() {
    let world = World::new().await;
    let database = TestDb::new("cursor").await;
    let _served = world.start(database.url());
    world.insert(database.pool(), &["1", "2", "3"]).await;
    world.texts(3).await;
    sqlx::raw_sql(AssertSqlSafe(
        "truncate oncebox.outbox restart identity".to_owned(),
    ))
    .execute(database.pool())
    .await
    .unwrap();
    world.insert(database.pool(), &["4"]).await;
    world.stopped("relay.sequence_behind").await;
    assert_eq!(world.texts(0).await.len(), 3);
    world
        .set(&["cursor", "set", "--at", "begin", "--reason", "truncated"])
        .await;
    world.insert(database.pool(), &["5"]).await;
    assert_eq!(world.texts(5).await[3..], ["4", "5"]);
    let (_, audit, _) = world.relay(&["audit"]).await;
    assert!(
        audit.contains("cursor begin") && audit.contains("kim"),
        "{audit}"
    );
}
