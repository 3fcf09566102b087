//! Many transactions at once, as from instances that own different partitions.

use std::time::Duration;

use inventory::handlers::Commands;
use oncebox::{BatchFailure, Outbox};
use uuid::Uuid;

use crate::shop::{Shop, commit, deliver, release, reserve};

/// Every order in a transaction of its own, all at once, as from instances that own other partitions.
async fn compete(stock: i64, wishes: &[i32]) -> Shop {
    let shop = Shop::open(&[("tea", stock)]).await;
    let racers = wishes.iter().map(|quantity| {
        let (pool, codec) = (shop.db.pool().clone(), shop.codec.clone());
        let batch = [reserve(Uuid::now_v7(), &[("tea", *quantity)])];
        tokio::spawn(async move {
            let handler = Commands::new(Outbox::new(codec, "inventory", ""));
            deliver(&pool, &handler, &batch).await
        })
    });
    for racer in futures::future::join_all(racers).await {
        racer.unwrap().unwrap();
    }
    shop.assert_books_balance("tea", stock).await;
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_orders_for_five_units_get_exactly_five() {
    let shop = compete(5, &[1; 10]).await;
    assert_eq!(shop.orders_in("reserved").await, 5);
    assert_eq!(shop.orders_in("rejected").await, 5);
    assert_eq!(shop.level("tea").await, (5, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn fifteen_orders_of_two_for_ten_units_get_exactly_five() {
    let shop = compete(10, &[2; 15]).await;
    assert_eq!(shop.orders_in("reserved").await, 5);
    assert_eq!(shop.level("tea").await, (10, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_and_five_for_ten_exactly_one_is_held() {
    for _ in 0..5 {
        let shop = compete(10, &[8, 5]).await;
        assert_eq!(shop.orders_in("reserved").await, 1);
        assert_eq!(shop.orders_in("rejected").await, 1);
    }
}

/// The same command at the same moment on two instances, as when a replay meets the original.
#[tokio::test(flavor = "multi_thread")]
async fn one_order_on_two_instances_at_once_is_held_once() {
    for _ in 0..10 {
        let shop = Shop::open(&[("tea", 100)]).await;
        let order = Uuid::now_v7();
        let twins = (0..8).map(|_| {
            let (pool, codec) = (shop.db.pool().clone(), shop.codec.clone());
            tokio::spawn(async move {
                let handler = Commands::new(Outbox::new(codec, "inventory", ""));
                deliver(&pool, &handler, &[reserve(order, &[("tea", 7)])]).await
            })
        });
        for twin in futures::future::join_all(twins).await {
            twin.unwrap().unwrap();
        }
        assert_eq!(shop.level("tea").await, (100, 7));
        assert_eq!(shop.answers(order).await, ["StockReserved"].repeat(8));
    }
}

/// Batches that share products and orders in opposite order, on many connections: no deadlock, no lost unit.
#[tokio::test(flavor = "multi_thread")]
async fn crossing_batches_neither_deadlock_nor_lose_a_unit() {
    let products = ["a", "b", "c", "d", "e", "f"];
    let stock: Vec<_> = products.iter().map(|p| (*p, 400)).collect();
    let shop = Shop::open(&stock).await;
    let orders: Vec<Uuid> = (0..60).map(|_| Uuid::now_v7()).collect();
    let workers = (0..8_usize).map(|worker| {
        let (pool, codec) = (shop.db.pool().clone(), shop.codec.clone());
        let mut orders = orders.clone();
        if worker % 2 == 1 {
            orders.reverse();
        }
        tokio::spawn(async move {
            let handler = Commands::new(Outbox::new(codec, "inventory", ""));
            for (round, chunk) in orders.chunks(12).enumerate() {
                let batch: Vec<_> = chunk
                    .iter()
                    .enumerate()
                    .flat_map(|(n, order)| {
                        let first = products[(n + round + worker) % products.len()];
                        let second = products[(n * 5 + worker) % products.len()];
                        let held = reserve(*order, &[(first, 3), (second, 2)]);
                        match (n + worker) % 3 {
                            0 => vec![held],
                            1 => vec![held, commit(*order)],
                            _ => vec![held, release(*order)],
                        }
                    })
                    .collect();
                deliver(&pool, &handler, &batch).await?;
            }
            Ok::<(), BatchFailure>(())
        })
    });
    let all = tokio::time::timeout(Duration::from_secs(60), futures::future::join_all(workers));
    for worker in all.await.expect("workers wait for each other") {
        worker.unwrap().unwrap();
    }
    for product in products {
        shop.assert_books_balance(product, 400).await;
    }
}
