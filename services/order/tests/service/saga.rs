//! Orders moved on by answers, cancellations and the clock, on a real database.

use std::time::Duration;

use crate::common::{Service, delivery, json_of, one_mug};
use oncebox::{BatchFailure, BatchHandler, Delivery, ErrorClass};
use order::handlers::replies::{Replies, Reply};
use order::handlers::sweep::sweep;
use schemas::inventory::{Shortage, StockCommitted, StockRejected, StockReleased, StockReserved};
use schemas::payment::{PaymentAuthorized, PaymentCaptured, PaymentDeclined, PaymentVoided};
use serde_json::json;
use uuid::Uuid;

/// Handles a batch as the consumer does: one transaction.
async fn handle(service: &Service, batch: &[Delivery<Reply>]) -> Result<(), BatchFailure> {
    let mut tx = service.db.pool().begin().await.unwrap();
    Replies::new(service.outbox.clone())
        .handle(&mut tx, batch)
        .await?;
    tx.commit().await.unwrap();
    Ok(())
}

fn authorized(order_id: Uuid) -> PaymentAuthorized {
    PaymentAuthorized {
        order_id,
        authorization_id: "auth-1".to_owned(),
    }
}

fn captured(order_id: Uuid) -> PaymentCaptured {
    PaymentCaptured {
        order_id,
        capture_id: "capture-1".to_owned(),
    }
}

fn straight(order_id: Uuid) -> Vec<Delivery<Reply>> {
    vec![
        delivery(StockReserved { order_id }),
        delivery(authorized(order_id)),
        delivery(StockCommitted { order_id }),
        delivery(captured(order_id)),
    ]
}

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
async fn a_cancel_at_each_step_asks_back_what_is_held_and_repeats_change_nothing() {
    let service = Service::start("cancel").await;
    for taken in 0..=4 {
        let order_id = service.place(&one_mug()).await;
        let batch: Vec<_> = straight(order_id).into_iter().take(taken).collect();
        handle(&service, &batch).await.unwrap();
        let already = service.sent(order_id).await.len();
        let answer = service.cancel(order_id, "changed my mind").await;
        assert_eq!(answer.status(), 200);
        let order = json_of(answer).await;
        assert_eq!(
            (&order["verdict"], &order["reason"]),
            (&json!("cancelled"), &json!("changed my mind"))
        );
        assert_eq!(
            (&order["reason_code"], &order["settled"]),
            (&json!("customer"), &json!(false))
        );
        let wanted: &[&str] = if taken == 0 {
            &["ReleaseStock", "OrderCancelled"]
        } else {
            &["VoidPayment", "ReleaseStock", "OrderCancelled"]
        };
        assert_eq!(
            service.sent(order_id).await[already..],
            *wanted,
            "after {taken} steps"
        );

        let again = json_of(service.cancel(order_id, "another reason").await).await;
        assert_eq!(again, order, "a second cancel changed something");
        // Late answers to what was asked before the cancel.
        let late: Vec<_> = straight(order_id).into_iter().skip(taken).collect();
        let (version, sent) = (order["version"].clone(), service.sent(order_id).await);
        if taken > 0 {
            handle(&service, &late).await.unwrap();
            assert_eq!(service.order(order_id).await["version"], version);
            assert_eq!(service.sent(order_id).await, sent);
        }
        let refunded = taken == 4;
        let mut done = vec![delivery(StockReleased { order_id })];
        if taken > 0 {
            done.push(delivery(PaymentVoided { order_id, refunded }));
        }
        handle(&service, &done).await.unwrap();
        let order = service.order(order_id).await;
        let payment = match taken {
            0 => "not_asked",
            4 => "refunded",
            _ => "voided",
        };
        assert_eq!(
            (&order["settled"], &order["payment"]),
            (&json!(true), &json!(payment)),
            "after {taken} steps"
        );
    }
    let wordless = service
        .post(&format!("/v1/orders/{}/cancel", Uuid::now_v7()))
        .json(&json!({"reason": " "}));
    assert_eq!(wordless.send().await.unwrap().status(), 422);
    service.stop().await;
}

#[tokio::test]
async fn cancels_and_answers_at_the_same_moment_agree() {
    let service = Service::start("race").await;
    for _ in 0..20 {
        let order_id = service.place(&one_mug()).await;
        handle(&service, &straight(order_id)[..3]).await.unwrap();
        let last = [delivery(captured(order_id))];
        let (handled, cancelled) =
            tokio::join!(handle(&service, &last), service.cancel(order_id, "now"));
        handled.unwrap();
        assert_eq!(cancelled.status(), 200);
        let order = service.order(order_id).await;
        assert_eq!(
            (&order["verdict"], &order["settled"]),
            (&json!("cancelled"), &json!(false))
        );
        let sent = service.sent(order_id).await;
        // Whoever was first, what is held is asked back exactly once, and nothing is confirmed afterwards.
        for undo in ["VoidPayment", "ReleaseStock", "OrderCancelled"] {
            assert_eq!(
                sent.iter().filter(|name| *name == undo).count(),
                1,
                "{sent:?}"
            );
        }
        assert_eq!(
            sent.last().map(String::as_str),
            Some("OrderCancelled"),
            "{sent:?}"
        );
    }
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
async fn what_waits_too_long_is_called_off_once_and_the_paid_are_left_alone() {
    let service = Service::start("sweep").await;
    let mut waiting = Vec::new();
    for _ in 0..5 {
        waiting.push(service.place(&one_mug()).await);
    }
    let (paid, fresh) = (
        service.place(&one_mug()).await,
        service.place(&one_mug()).await,
    );
    handle(&service, &straight(paid)).await.unwrap();
    // Placed long ago, but with a step just now: it does not wait too long.
    let age = "update orders set placed_at = placed_at - interval '10 minutes', \
               updated_at = updated_at - case when order_id = $1 then interval '0' else interval '10 minutes' end";
    sqlx::query(age)
        .bind(fresh)
        .execute(service.db.pool())
        .await
        .unwrap();
    let timeout = Duration::from_secs(300);
    // Two instances at once: each order is called off by one of them.
    let (one, two) = tokio::join!(
        sweep(service.db.pool(), &service.outbox, timeout),
        sweep(service.db.pool(), &service.outbox, timeout)
    );
    let mut called_off: Vec<_> = one
        .unwrap()
        .into_iter()
        .chain(two.unwrap())
        .map(|decided| decided.order)
        .collect();
    called_off.sort();
    assert_eq!(called_off, waiting);
    for order in &waiting {
        let shown = service.order(*order).await;
        assert_eq!(
            (&shown["verdict"], &shown["reason_code"]),
            (&json!("cancelled"), &json!("timeout"))
        );
        assert_eq!(shown["reason"], "order processing timeout");
        assert!(
            service
                .sent(*order)
                .await
                .contains(&"ReleaseStock".to_owned())
        );
    }
    assert_eq!(service.order(fresh).await["verdict"], "pending");
    assert_eq!(service.order(paid).await["verdict"], "confirmed");
    service.stop().await;
}

#[tokio::test]
async fn the_running_service_sweeps_by_itself() {
    let service = Service::start_with("sweeper", |settings| {
        settings.saga_timeout_seconds = 1;
        settings.sweep_interval_seconds = 1;
    })
    .await;
    let order = service.place(&one_mug()).await;
    testkit::eventually(
        "the order to be called off",
        Duration::from_secs(20),
        async || (service.order(order).await["reason_code"] == "timeout").then_some(()),
    )
    .await;
    service.stop().await;
}

#[tokio::test]
async fn a_client_may_wait_for_the_verdict() {
    let service = Service::start("wait").await;
    let submit = |key: &str, wait: &str| {
        service
            .submit(key, &one_mug())
            .header("prefer", format!("wait={wait}"))
    };
    // Nobody answers: after the wait, the order as it stands.
    let pending = submit("nobody", "1").send().await.unwrap();
    assert_eq!(
        (
            pending.status().as_u16(),
            &pending.headers()["preference-applied"]
        ),
        (202, &"wait=1".parse().unwrap())
    );
    assert!(pending.headers().contains_key("location"));

    let confirm = async {
        let id: Uuid = testkit::eventually(
            "the order to be stored",
            Duration::from_secs(10),
            async || {
                let newest = "select order_id from orders order by order_id desc limit 1 offset 0";
                let count: i64 = sqlx::query_scalar("select count(*) from orders")
                    .fetch_one(service.db.pool())
                    .await
                    .unwrap();
                let id = sqlx::query_scalar(newest)
                    .fetch_one(service.db.pool())
                    .await
                    .unwrap();
                (count == 2).then_some(id)
            },
        )
        .await;
        handle(&service, &straight(id)).await.unwrap();
        id
    };
    let (answer, id) = tokio::join!(submit("somebody", "25").send(), confirm);
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 200);
    let body = answer.bytes().await.unwrap();
    let order: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (&order["verdict"], &order["order_id"]),
        (&json!("confirmed"), &json!(id))
    );

    let again = submit("somebody", "25").send().await.unwrap();
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(
        (again.status().as_u16(), again.bytes().await.unwrap()),
        (200, body)
    );
    let accepted = service.submit("somebody", &one_mug()).send().await.unwrap();
    assert_eq!(
        accepted.status(),
        202,
        "without the wish to wait, the acceptance is repeated"
    );
    assert_eq!(json_of(accepted).await["verdict"], "pending");
    service.stop().await;
}

#[tokio::test]
async fn a_shutdown_lets_waiting_clients_go() {
    let service = Service::start("goodbye").await;
    let waiting = service
        .submit("k", &one_mug())
        .header("prefer", "wait=30")
        .send();
    let waiting = tokio::spawn(waiting);
    testkit::eventually(
        "the order to be stored",
        Duration::from_secs(10),
        async || {
            let count: i64 = sqlx::query_scalar("select count(*) from orders")
                .fetch_one(service.db.pool())
                .await
                .unwrap();
            (count == 1).then_some(())
        },
    )
    .await;
    let started = std::time::Instant::now();
    service.stop().await;
    assert_eq!(waiting.await.unwrap().unwrap().status(), 202);
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "the shutdown waited for the client's wish"
    );
}
