//! Orders moved on by answers, cancellations and the clock, on a real database.

use oncebox::{BatchFailure, Delivery, ErrorClass};
use order::handlers::replies::Reply;
use schemas::inventory::{Shortage, StockRejected, StockReleased, StockReserved};
use schemas::payment::PaymentDeclined;
use serde_json::json;
use uuid::Uuid;

use crate::common::{Service, delivery, handle, json_of, one_mug, straight};

#[tokio::test]
async fn the_straight_way_is_told_step_by_step() {
    let service = Service::start("straight").await;
    let order = service.place(&one_mug()).await;
    for (reply, status) in
        straight(order)
            .into_iter()
            .zip(["RESERVED", "AUTHORIZED", "AUTHORIZED", "PAID"])
    {
        let id = reply.event_id;
        handle(&service, &[reply]).await.unwrap();
        assert_eq!(service.order(order).await["status"], status);
        let events = service
            .get(&format!("/v1/orders/{order}/events"))
            .send()
            .await
            .unwrap();
        let told = json_of(events).await["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|item| {
                item["cause"]["event_id"] == id.to_string()
                    && item["correlation_id"] == "correlation-of-the-test"
            });
        assert!(told, "{status} does not name its cause");
    }
    assert_eq!(
        service.steps(order).await,
        [
            "order.placed",
            "stock.reserved",
            "payment.authorized",
            "stock.committed",
            "payment.captured",
            "order.confirmed"
        ]
    );
    assert_eq!(
        service.sent(order).await,
        [
            "OrderPlaced",
            "ReserveStock",
            "AuthorizePayment",
            "CommitStock",
            "CapturePayment",
            "OrderConfirmed"
        ]
    );
    let shown = service.order(order).await;
    assert_eq!(
        (&shown["verdict"], &shown["settled"]),
        (&json!("confirmed"), &json!(true))
    );
    let token: Option<String> = sqlx::query_scalar("select payment_token from orders")
        .fetch_one(service.db.pool())
        .await
        .unwrap();
    assert_eq!(token, None, "the payment token outlived its use");
    service.stop().await;
}

#[tokio::test]
async fn a_whole_batch_with_every_record_doubled_moves_each_order_once() {
    let service = Service::start("batch").await;
    let mut orders = Vec::new();
    for _ in 0..10 {
        orders.push(service.place(&one_mug()).await);
    }
    // Order by order and step by step interleaved, each record twice, all in one transaction.
    let per_order: Vec<_> = orders.iter().map(|order| straight(*order)).collect();
    let mut batch = Vec::new();
    for step in 0..4 {
        for replies in &per_order {
            batch.push(replies[step].clone_for_test());
            batch.push(replies[step].clone_for_test());
        }
    }
    handle(&service, &batch).await.unwrap();
    let before = snapshot(&service).await;
    for order in &orders {
        assert_eq!(service.order(*order).await["verdict"], "confirmed");
        assert_eq!(service.sent(*order).await.len(), 6);
    }
    // All of it once more, backwards.
    batch.reverse();
    handle(&service, &batch).await.unwrap();
    assert_eq!(
        snapshot(&service).await,
        before,
        "repeats changed something"
    );
    service.stop().await;
}

/// Everything there is to see of all orders.
async fn snapshot(service: &Service) -> (serde_json::Value, i64, i64) {
    sqlx::query_as(
        "select (select jsonb_agg(orders order by order_id) from orders), \
                (select count(*) from oncebox.outbox), (select count(*) from order_timeline)",
    )
    .fetch_one(service.db.pool())
    .await
    .unwrap()
}

trait CloneForTest {
    fn clone_for_test(&self) -> Self;
}

impl CloneForTest for Delivery<Reply> {
    fn clone_for_test(&self) -> Self {
        let message = match &self.message {
            Reply::StockReserved(reply) => reply.clone().into(),
            Reply::PaymentAuthorized(reply) => reply.clone().into(),
            Reply::StockCommitted(reply) => reply.clone().into(),
            Reply::PaymentCaptured(reply) => reply.clone().into(),
            other => panic!("not part of the straight way: {other:?}"),
        };
        Self {
            message,
            event_id: self.event_id,
            record: self.record.clone(),
        }
    }
}

#[tokio::test]
async fn a_shortage_rejects_the_order_and_names_what_is_short() {
    let service = Service::start("short").await;
    let order_id = service.place(&one_mug()).await;
    let shortages = vec![Shortage {
        product: "mug".to_owned(),
        wanted: 2,
        available: 1,
    }];
    handle(
        &service,
        &[delivery(StockRejected {
            order_id,
            shortages,
        })],
    )
    .await
    .unwrap();
    let order = service.order(order_id).await;
    assert_eq!(
        (&order["status"], &order["verdict"]),
        (&json!("CANCELLED"), &json!("rejected"))
    );
    assert_eq!(order["reason_code"], "insufficient_stock");
    assert_eq!(
        order["reason"],
        "insufficient stock for product mug (wanted 2, available 1)"
    );
    assert_eq!(
        service.sent(order_id).await,
        ["OrderPlaced", "ReserveStock", "OrderCancelled"]
    );
    // There is nothing to cancel any more.
    let refused = service.cancel(order_id, "too late").await;
    assert_eq!(refused.status(), 409);
    assert_eq!(json_of(refused).await["code"], "order.already_rejected");
    service.stop().await;
}

#[tokio::test]
async fn a_declined_payment_releases_the_stock() {
    let service = Service::start("declined").await;
    let order_id = service.place(&one_mug()).await;
    let declined = PaymentDeclined {
        order_id,
        reason_code: "card_declined".to_owned(),
        reason: "the card was declined".to_owned(),
    };
    handle(
        &service,
        &[delivery(StockReserved { order_id }), delivery(declined)],
    )
    .await
    .unwrap();
    let order = service.order(order_id).await;
    assert_eq!(
        (&order["reason_code"], &order["settled"]),
        (&json!("payment_declined"), &json!(false))
    );
    handle(&service, &[delivery(StockReleased { order_id })])
        .await
        .unwrap();
    assert_eq!(service.order(order_id).await["settled"], true);
    let sent = service.sent(order_id).await;
    assert_eq!(&sent[3..], ["ReleaseStock", "OrderCancelled"]);
    service.stop().await;
}

#[tokio::test]
async fn an_answer_for_an_unknown_order_is_to_blame_alone() {
    let service = Service::start("stranger").await;
    let order_id = service.place(&one_mug()).await;
    let batch = [
        delivery(StockReserved {
            order_id: Uuid::now_v7(),
        }),
        delivery(StockReserved { order_id }),
    ];
    match handle(&service, &batch).await.unwrap_err() {
        BatchFailure::Records(records) => {
            let blamed: Vec<_> = records
                .iter()
                .map(|(at, failure)| (*at, failure.class, failure.code))
                .collect();
            assert_eq!(blamed, [(0, ErrorClass::Permanent, "order.unknown")]);
        }
        BatchFailure::Whole(failure) => panic!("the whole batch is blamed: {failure}"),
    }
    service.stop().await;
}

#[tokio::test]
async fn a_row_that_makes_no_sense_is_told_apart_from_trouble_that_passes() {
    let service = Service::start("unreadable").await;
    let order_id = service.place(&one_mug()).await;
    sqlx::query("update orders set stock = 'committed'")
        .execute(service.db.pool())
        .await
        .unwrap();
    match handle(&service, &[delivery(StockReserved { order_id })])
        .await
        .unwrap_err()
    {
        BatchFailure::Whole(failure) => {
            assert_eq!(
                (failure.class, failure.code),
                (ErrorClass::Permanent, "order.unreadable")
            );
            assert!(failure.message.contains("stock committed"), "{failure}");
        }
        BatchFailure::Records(records) => panic!("{records:?}"),
    }
    service.stop().await;
}
