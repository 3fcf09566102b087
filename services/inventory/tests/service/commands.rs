//! Commands by Kafka: twice, again under other ids, from the replay topic, and to two instances at once.

use oncebox::EventId;
use schemas::inventory::{CommitStock, ReleaseStock};
use testkit::eventually;
use uuid::Uuid;

use crate::world::{DEADLINE, World, reserve};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_twice_and_once_more_as_a_replay_changes_nothing() {
    let world = World::new("twice").await;
    let service = world.start().await;
    service.stock("tea", 10).await;
    let (paid, cancelled) = (Uuid::now_v7(), Uuid::now_v7());
    let ids: Vec<EventId> = (0..5).map(|_| EventId::new()).collect();
    for _ in 0..2 {
        world.send(ids[0], &reserve(paid, &[("tea", 3)])).await;
        world.send(ids[1], &reserve(cancelled, &[("tea", 5)])).await;
        world.send(ids[2], &CommitStock { order_id: paid }).await;
        let release = ReleaseStock {
            order_id: cancelled,
            reason: "test".into(),
        };
        world.send(ids[3], &release).await;
    }
    eventually("all four finished", DEADLINE, async || {
        (world.finished().await == 4).then_some(())
    })
    .await;
    let replay = "inventory.commands.inventory.replay";
    world
        .send_to(replay, ids[0], &reserve(paid, &[("tea", 3)]))
        .await;
    world
        .send_to(replay, ids[2], &CommitStock { order_id: paid })
        .await;
    // Sent last to the same topic and key: when it is finished, so are the replays before it.
    let repeated = world
        .send_to(replay, ids[4], &CommitStock { order_id: paid })
        .await;
    eventually("the new id finished", DEADLINE, async || {
        (world.finished().await == 5).then_some(())
    })
    .await;

    let types = |led_to: Vec<(String, String)>| -> Vec<String> {
        led_to
            .into_iter()
            .map(|(topic, kind)| {
                assert_eq!(topic, format!("{}inventory.events", world.prefix));
                kind.rsplit('.').next().unwrap().to_owned()
            })
            .collect()
    };
    for (id, answer) in [
        (ids[0], "StockReserved"),
        (ids[1], "StockReserved"),
        (ids[2], "StockCommitted"),
        (ids[3], "StockReleased"),
        (repeated, "StockCommitted"),
    ] {
        assert_eq!(
            types(world.led_to(id).await),
            [answer],
            "one answer to {id}"
        );
    }
    assert_eq!(service.levels("tea").await, [7, 0, 7]);
    let (_, reservation) = service.get(&format!("/v1/reservations/{paid}")).await;
    assert_eq!(reservation["status"], "committed");
    assert_eq!(
        reservation["lines"],
        serde_json::json!([{"product": "tea", "quantity": 3}])
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_share_the_work_and_sell_nothing_twice() {
    let world = World::new("instances").await;
    let (first, second) = (world.start().await, world.start().await);
    first.stock("tea", 25).await;
    for _ in 0..60 {
        world.reserve(Uuid::now_v7(), &[("tea", 1)]).await;
    }
    eventually("all orders answered", DEADLINE, async || {
        (world.answers().await == 60).then_some(())
    })
    .await;
    assert_eq!(second.levels("tea").await, [25, 25, 0]);
    let by_status: Vec<(String, i64)> =
        sqlx::query_as("select status, count(*) from reservations group by status order by status")
            .fetch_all(world.db.pool())
            .await
            .unwrap();
    assert_eq!(
        by_status,
        [("rejected".to_owned(), 35), ("reserved".to_owned(), 25)]
    );
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_nothing_is_dead_lettered_and_its_neighbours_go_through() {
    let world = World::new("dead").await;
    let service = world.start().await;
    service.stock("tea", 10).await;
    let (before, after) = (Uuid::now_v7(), Uuid::now_v7());
    world.reserve(before, &[("tea", 1)]).await;
    let dead = world.commit(Uuid::now_v7()).await;
    world.reserve(after, &[("tea", 2)]).await;
    eventually("all three finished", DEADLINE, async || {
        (world.finished().await == 3).then_some(())
    })
    .await;

    assert_eq!(service.levels("tea").await, [10, 3, 7]);
    let rows = world.led_to(dead).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(
        rows[0].0,
        format!("{}inventory.commands.inventory.dlq", world.prefix)
    );
    let code: String = sqlx::query_scalar(
        "select headers->>'oncebox-error-code' from oncebox.outbox where topic like '%.dlq'",
    )
    .fetch_one(world.db.pool())
    .await
    .unwrap();
    assert_eq!(code, "inventory.nothing_reserved");
    service.stop().await;
}
