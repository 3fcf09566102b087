//! Services killed without warning in the middle of their work: reserved once, captured once.

use std::time::Duration;

use crate::alone;
use crate::confirmed::effects;
use e2e::client::{one_line, product};
use e2e::{Client, Service};

/// Keeps orders coming while a service is killed and started again and again, wherever it happens to be.
async fn killed_again_and_again(client: &Client, victim: &Service, label: &str) {
    let lamp = product(label);
    client.stock(&lamp, 1000).await;
    let mut orders = Vec::new();
    for _ in 0..4 {
        for _ in 0..15 {
            orders.push(client.submit(&one_line(&lamp, 1, "tok_approved")).await);
        }
        // Some of them have passed and some are on their way: the kill is in between.
        let newest_passed = orders.len() - 12;
        testkit::eventually(
            "some progress before the kill",
            Duration::from_secs(60),
            async || {
                let order = client.order(&orders[newest_passed]).await;
                (order["status"] != "CREATED").then_some(())
            },
        )
        .await;
        victim.kill();
        victim.start();
        victim.ready().await;
    }
    for order in &orders {
        let settled = client.settled(order).await;
        assert_eq!(settled["verdict"], "confirmed", "{settled}");
        assert_eq!(
            effects(&client.ledger(order).await),
            [("authorize", 1), ("capture", 1), ("void", 0), ("refund", 0)]
        );
    }
    let level = client.level(&lamp).await;
    let left = 1000 - i64::try_from(orders.len()).unwrap();
    assert_eq!(
        (level["on_hand"].as_i64(), level["reserved"].as_i64()),
        (Some(left), Some(0))
    );
}

#[test]
fn inventory_is_killed() {
    alone(async |pipeline, client| {
        killed_again_and_again(&client, &pipeline.inventory, "kill-inventory").await
    });
}

#[test]
fn payment_is_killed() {
    alone(async |pipeline, client| {
        killed_again_and_again(&client, &pipeline.payment, "kill-payment").await
    });
}

#[test]
fn order_is_killed() {
    alone(async |pipeline, client| {
        killed_again_and_again(&client, &pipeline.order, "kill-order").await
    });
}

#[test]
fn the_relay_is_killed() {
    alone(async |pipeline, client| {
        killed_again_and_again(&client, &pipeline.relay, "kill-relay").await
    });
}
