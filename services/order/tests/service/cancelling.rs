//! Orders called off: by customers at each step and in races, and by the clock.

use std::time::Duration;

use order::handlers::sweep::sweep;
use schemas::inventory::StockReleased;
use schemas::payment::PaymentVoided;
use serde_json::json;
use uuid::Uuid;

use crate::common::{Service, captured, delivery, handle, json_of, one_mug, straight};

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
