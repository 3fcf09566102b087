//! What does not end well gives everything back: declined, timed out, cancelled at every step.

use std::time::Duration;

use crate::confirmed::effects;
use crate::{alone, shared};
use e2e::client::{one_line, product};
use e2e::{Client, Service};

/// Nothing held, and nothing captured that was not refunded.
async fn nothing_is_held(client: &Client, order: &str, product: &str, stock: i64) {
    let level = client.level(product).await;
    assert_eq!(
        (level["on_hand"].as_i64(), level["reserved"].as_i64()),
        (Some(stock), Some(0)),
        "{level}"
    );
    let [_, (_, captured), (_, voided), (_, refunded)] = effects(&client.ledger(order).await);
    assert!(
        captured <= 1 && captured == refunded,
        "captured {captured}, refunded {refunded}"
    );
    assert!(voided <= 1, "voided {voided} times");
}

#[test]
fn a_declined_payment_gives_the_stock_back() {
    shared(async |_, client| {
        let lamp = product("declined");
        client.stock(&lamp, 4).await;
        let order = client.submit(&one_line(&lamp, 3, "tok_declined")).await;
        let settled = client.settled(&order).await;
        assert_eq!(
            (settled["verdict"].as_str(), settled["reason_code"].as_str()),
            (Some("rejected"), Some("payment_declined"))
        );
        nothing_is_held(&client, &order, &lamp, 4).await;
        assert_eq!(
            effects(&client.ledger(&order).await)[1].1,
            0,
            "nothing was captured"
        );
    });
}

#[test]
fn a_capture_whose_answer_was_lost_happens_once() {
    shared(async |_, client| {
        let lamp = product("lost-answer");
        client.stock(&lamp, 4).await;
        let order = client
            .submit(&one_line(&lamp, 1, "tok_timeout_capture"))
            .await;
        let settled = client.settled(&order).await;
        assert_eq!(settled["verdict"], "confirmed", "{settled}");
        assert_eq!(effects(&client.ledger(&order).await)[1], ("capture", 1));
    });
}

#[test]
fn a_provider_that_fails_three_times_is_tried_again() {
    shared(async |_, client| {
        let lamp = product("errors");
        client.stock(&lamp, 4).await;
        let order = client.submit(&one_line(&lamp, 1, "tok_error_3")).await;
        assert_eq!(client.settled(&order).await["verdict"], "confirmed");
        assert_eq!(
            effects(&client.ledger(&order).await)[..2],
            [("authorize", 1), ("capture", 1)]
        );
    });
}

/// Cancels while the saga waits for an answer of a service that is down, then lets the service go on.
async fn cancel_while_down(client: &Client, down: &Service, label: &str, status: &str) {
    let lamp = product(label);
    client.stock(&lamp, 5).await;
    down.terminate();
    let order = client.submit(&one_line(&lamp, 2, "tok_approved")).await;
    testkit::eventually(
        &format!("status {status}"),
        Duration::from_secs(30),
        async || (client.order(&order).await["status"] == status).then_some(()),
    )
    .await;
    let answer = client.cancel(&order, "changed my mind").await;
    assert!(answer.status.is_success(), "{}", answer.json());
    assert_eq!(client.order(&order).await["verdict"], "cancelled");
    down.start();
    down.ready().await;
    let settled = client.settled(&order).await;
    assert_eq!(
        (settled["status"].as_str(), settled["verdict"].as_str()),
        (Some("CANCELLED"), Some("cancelled")),
        "{settled}"
    );
    nothing_is_held(client, &order, &lamp, 5).await;
}

#[test]
fn cancelled_before_the_reservation() {
    alone(async |pipeline, client| {
        let lamp = product("before");
        client.stock(&lamp, 5).await;
        pipeline.inventory.terminate();
        let order = client.submit(&one_line(&lamp, 2, "tok_approved")).await;
        assert!(client.cancel(&order, "too slow").await.status.is_success());
        pipeline.inventory.start();
        pipeline.inventory.ready().await;
        client.settled(&order).await;
        nothing_is_held(&client, &order, &lamp, 5).await;
    });
}

#[test]
fn cancelled_between_reservation_and_authorisation() {
    alone(async |pipeline, client| {
        cancel_while_down(&client, &pipeline.payment, "reserved", "RESERVED").await
    });
}

#[test]
fn cancelled_between_authorisation_and_confirmation() {
    alone(async |pipeline, client| {
        let lamp = product("authorized");
        client.stock(&lamp, 5).await;
        // The provider answers a capture only after two seconds: the saga is authorised and not yet paid meanwhile.
        let order = client
            .submit(&one_line(&lamp, 2, "tok_timeout_capture"))
            .await;
        testkit::eventually("status AUTHORIZED", Duration::from_secs(30), async || {
            (client.order(&order).await["status"] == "AUTHORIZED").then_some(())
        })
        .await;
        assert!(
            client
                .cancel(&order, "changed my mind")
                .await
                .status
                .is_success()
        );
        let settled = client.settled(&order).await;
        assert_eq!(settled["verdict"], "cancelled", "{settled}");
        nothing_is_held(&client, &order, &lamp, 5).await;
        let _ = pipeline;
    });
}

#[test]
fn cancelled_after_it_was_paid() {
    shared(async |_, client| {
        let lamp = product("paid");
        client.stock(&lamp, 5).await;
        let order = client.submit(&one_line(&lamp, 2, "tok_approved")).await;
        assert_eq!(client.settled(&order).await["verdict"], "confirmed");
        assert!(
            client
                .cancel(&order, "does not fit")
                .await
                .status
                .is_success()
        );
        client.settled(&order).await;
        nothing_is_held(&client, &order, &lamp, 5).await;
        assert_eq!(effects(&client.ledger(&order).await)[3], ("refund", 1));
    });
}

/// Cancels at moments spread over the whole saga: whatever it hits, the end is correct.
#[test]
fn cancelled_at_any_moment() {
    shared(async |_, client| {
        let lamp = product("any");
        client.stock(&lamp, 1000).await;
        let mut running = Vec::new();
        for number in 0..20_u64 {
            let (client, lamp) = (client.clone(), lamp.clone());
            running.push(async move {
                let order = client.submit(&one_line(&lamp, 1, "tok_approved")).await;
                // Not a wait for something: the moment itself is what varies.
                tokio::time::sleep(Duration::from_millis(number * 15)).await;
                let answer = client.cancel(&order, "any moment").await;
                assert!(answer.status.is_success(), "{}", answer.json());
                let settled = client.settled(&order).await;
                assert_eq!(settled["verdict"], "cancelled", "{settled}");
                let [_, (_, captured), _, (_, refunded)] = effects(&client.ledger(&order).await);
                assert_eq!(captured, refunded);
            });
        }
        futures::future::join_all(running).await;
        let level = client.level(&lamp).await;
        assert_eq!(
            (level["on_hand"].as_i64(), level["reserved"].as_i64()),
            (Some(1000), Some(0))
        );
    });
}
