//! What a batch is told: shortages, repeats, refusals.

use inventory::store;
use oncebox::{BatchFailure, ErrorClass};
use uuid::Uuid;

use crate::shop::{Shop, commit, release, reserve};

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
