//! Reservations on a real PostgreSQL: many transactions at once, batches in every cut, everything twice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper that fails fails its test"
)]

use std::sync::Arc;
use std::time::Duration;

use inventory::handlers::Commands;
use inventory::store;
use oncebox::{
    BatchFailure, BatchHandler, Codec, Delivery, ErrorClass, EventId, Headers, Outbox, Record,
};
use schemas::InventoryCommand;
use schemas::inventory::{CommitStock, ReleaseStock, ReserveStock, StockLine};
use sqlx::PgPool;
use testkit::TestDb;
use uuid::Uuid;

struct Shop {
    db: TestDb,
    codec: Codec,
    handler: Arc<Commands>,
}

impl Shop {
    async fn open(stock: &[(&str, i64)]) -> Self {
        let db = TestDb::empty("inventory").await;
        store::migrate(db.pool()).await.unwrap();
        let codec = Codec::new(&testkit::registry_address(), Some(db.pool().clone())).unwrap();
        for (product, on_hand) in stock {
            sqlx::query("insert into stock (product, on_hand) values ($1, $2)")
                .bind(product)
                .bind(on_hand)
                .execute(db.pool())
                .await
                .unwrap();
        }
        let handler = Arc::new(Commands::new(Outbox::new(codec.clone(), "inventory", "")));
        Self { db, codec, handler }
    }

    /// What the consumer does with a batch: one transaction; a conflict is tried again.
    async fn deliver(&self, batch: &[Delivery<InventoryCommand>]) -> Result<(), BatchFailure> {
        deliver(self.db.pool(), &self.handler, batch).await
    }

    async fn level(&self, product: &str) -> (i64, i64) {
        sqlx::query_as("select on_hand, reserved from stock where product = $1")
            .bind(product)
            .fetch_one(self.db.pool())
            .await
            .unwrap()
    }

    async fn orders_in(&self, status: &str) -> i64 {
        sqlx::query_scalar("select count(*) from reservations where status = $1")
            .bind(status)
            .fetch_one(self.db.pool())
            .await
            .unwrap()
    }

    /// The answers to an order so far: short type names, in the order of the outbox.
    async fn answers(&self, order: Uuid) -> Vec<String> {
        let types: Vec<String> = sqlx::query_scalar(
            "select headers->>'ce_type' from oncebox.outbox where key = $1 order by seq",
        )
        .bind(order.to_string().into_bytes())
        .fetch_all(self.db.pool())
        .await
        .unwrap();
        types
            .into_iter()
            .map(|name| name.rsplit('.').next().unwrap().to_owned())
            .collect()
    }

    /// No unit is promised twice, none appears, none is lost.
    async fn assert_books_balance(&self, product: &str, at_first: i64) {
        let (held, gone): (i64, i64) = sqlx::query_as(
            "select coalesce(sum(l.quantity) filter (where r.status = 'reserved'), 0)::bigint,
                    coalesce(sum(l.quantity) filter (where r.status = 'committed'), 0)::bigint
             from reservations r join reservation_lines l using (order_id)
             where l.product = $1",
        )
        .bind(product)
        .fetch_one(self.db.pool())
        .await
        .unwrap();
        assert_eq!(
            self.level(product).await,
            (at_first - gone, held),
            "{product}"
        );
    }
}

async fn deliver(
    pool: &PgPool,
    handler: &Commands,
    batch: &[Delivery<InventoryCommand>],
) -> Result<(), BatchFailure> {
    for _ in 0..50 {
        let mut tx = pool.begin().await.unwrap();
        match handler.handle(&mut tx, batch).await {
            Ok(()) => {
                tx.commit().await.unwrap();
                return Ok(());
            }
            Err(BatchFailure::Whole(f)) if f.code == "inventory.ledger_conflict" => continue,
            Err(other) => return Err(other),
        }
    }
    panic!("the conflict does not go away");
}

fn delivery(message: impl Into<InventoryCommand>) -> Delivery<InventoryCommand> {
    let message = message.into();
    Delivery {
        event_id: EventId::new(),
        record: Record {
            topic: "inventory.commands".to_owned(),
            partition: 0,
            offset: 0,
            timestamp: None,
            key: Some(bytes::Bytes::from(message.order_id().to_string())),
            value: None,
            headers: Headers::new(),
        },
        message,
    }
}

fn reserve(order_id: Uuid, lines: &[(&str, i32)]) -> Delivery<InventoryCommand> {
    let lines = lines.iter().map(|(product, quantity)| StockLine {
        product: (*product).to_owned(),
        quantity: *quantity,
    });
    delivery(ReserveStock {
        order_id,
        lines: lines.collect(),
    })
}

fn commit(order_id: Uuid) -> Delivery<InventoryCommand> {
    delivery(CommitStock { order_id })
}

fn release(order_id: Uuid) -> Delivery<InventoryCommand> {
    delivery(ReleaseStock {
        order_id,
        reason: "test".to_owned(),
    })
}

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

#[tokio::test]
async fn a_rejection_names_product_wanted_and_available() {
    let shop = Shop::open(&[("tea", 3)]).await;
    let order = Uuid::now_v7();
    shop.deliver(&[reserve(order, &[("tea", 5), ("unheard-of", 1)])])
        .await
        .unwrap();
    let payload: Vec<u8> = sqlx::query_scalar("select payload from oncebox.outbox")
        .fetch_one(shop.db.pool())
        .await
        .unwrap();
    let decoded = shop.codec.decode_json(Some(&payload)).await.unwrap();
    assert_eq!(
        decoded.json["shortages"],
        serde_json::json!([
            { "product": "tea", "wanted": 5, "available": 3 },
            { "product": "unheard-of", "wanted": 1, "available": 0 },
        ])
    );
    let row = store::reservations::find(shop.db.pool(), order)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (row.status.as_str(), row.shortages.unwrap().len()),
        ("rejected", 2)
    );
}

#[tokio::test]
async fn everything_twice_and_in_other_batches_changes_nothing() {
    let (paid, cancelled, restocked, short, early) = (
        Uuid::now_v7(),
        Uuid::now_v7(),
        Uuid::now_v7(),
        Uuid::now_v7(),
        Uuid::now_v7(),
    );
    let story = || {
        vec![
            reserve(paid, &[("tea", 2), ("mug", 1)]),
            reserve(cancelled, &[("tea", 3)]),
            reserve(short, &[("tea", 6), ("mug", 1)]),
            release(early),
            commit(paid),
            release(cancelled),
            reserve(restocked, &[("mug", 2)]),
            commit(restocked),
            release(restocked),
            reserve(early, &[("tea", 1)]),
        ]
    };
    let shop = Shop::open(&[("tea", 10), ("mug", 5)]).await;
    shop.deliver(&story()).await.unwrap();
    let books = |shop: &Shop| {
        let pool = shop.db.pool().clone();
        async move {
            sqlx::query_scalar::<_, String>(
                "select string_agg(line, ';' order by line) from (
                     select concat_ws(' ', product, on_hand, reserved, version) as line from stock
                     union all
                     select concat_ws(' ', order_id, status, shortages, updated_at) from reservations
                 ) lines",
            )
            .fetch_one(&pool)
            .await
            .unwrap()
        }
    };
    let before = books(&shop).await;
    assert_eq!(shop.level("tea").await, (8, 0));
    assert_eq!(shop.level("mug").await, (4, 0));

    // Each command again under a new event id: each repeats what the order's entry says, and moves nothing.
    for size in [1, 3, 10] {
        for batch in story().chunks(size) {
            shop.deliver(batch).await.unwrap();
        }
        assert_eq!(books(&shop).await, before, "in batches of {size}");
    }
    let repeated = |name: &'static str| [name].repeat(4);
    assert_eq!(shop.answers(short).await, repeated("StockRejected"));
    assert_eq!(
        shop.answers(early).await,
        repeated("StockReleased").repeat(2)
    );
    let paid_answers = ["StockReserved", "StockCommitted"].repeat(4);
    assert_eq!(shop.answers(paid).await, paid_answers);
}

#[tokio::test]
async fn a_commit_of_nothing_is_refused_alone() {
    let shop = Shop::open(&[("tea", 5)]).await;
    let (good, unknown) = (Uuid::now_v7(), Uuid::now_v7());
    let batch = [reserve(good, &[("tea", 1)]), commit(unknown), commit(good)];
    let failure = shop.deliver(&batch).await.unwrap_err();
    let BatchFailure::Records(records) = failure else {
        panic!("the culprit is known: {failure:?}");
    };
    assert_eq!(records.len(), 1);
    let (index, failure) = &records[0];
    assert_eq!(
        (*index, failure.class, failure.code),
        (1, ErrorClass::Permanent, "inventory.nothing_reserved")
    );
    assert!(failure.message.contains(&unknown.to_string()), "{failure}");
    assert_eq!(
        shop.level("tea").await,
        (5, 0),
        "a failed batch leaves nothing behind"
    );

    let [first, _, third] = batch;
    shop.deliver(&[first, third]).await.unwrap();
    assert_eq!(shop.level("tea").await, (4, 0));
}

#[tokio::test]
async fn an_impossible_command_is_refused_with_its_reason() {
    let shop = Shop::open(&[("tea", 5)]).await;
    for lines in [&[("tea", 0)][..], &[("tea", -2)], &[("te\0a", 1)], &[]] {
        let batch = [reserve(Uuid::now_v7(), lines)];
        let failure = shop.deliver(&batch).await.unwrap_err();
        let BatchFailure::Records(records) = failure else {
            panic!("{failure:?}");
        };
        assert_eq!(records[0].1.code, "inventory.invalid_command");
        assert_eq!(records[0].1.class, ErrorClass::Permanent);
    }
    assert_eq!(shop.orders_in("rejected").await, 0);
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
