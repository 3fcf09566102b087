//! Every record delivered twice, and again in another order of batches: nothing changes (G5).

use std::collections::BTreeMap;

use crate::alone;
use e2e::client::{one_line, product};
use e2e::{Client, Pipeline};
use reqwest::Method;
use serde_json::Value;

const TOPICS: [&str; 5] = [
    "order.events",
    "inventory.commands",
    "inventory.events",
    "payment.commands",
    "payment.events",
];
const GROUPS: [&str; 4] = ["order", "inventory", "payment", "notification"];

/// What must not change: orders, stock, money, notifications.
async fn state(client: &Client, orders: &[String], lamp: &str) -> BTreeMap<String, Value> {
    let mut state = BTreeMap::new();
    state.insert("stock".to_owned(), client.level(lamp).await);
    for order in orders {
        let mut ledger = client.ledger(order).await;
        // Calls may repeat; effects may not.
        ledger.as_object_mut().unwrap().remove("calls");
        state.insert(format!("{order} order"), client.order(order).await);
        state.insert(
            format!("{order} timeline"),
            client.timeline(order).await.into(),
        );
        state.insert(format!("{order} ledger"), ledger);
        state.insert(
            format!("{order} reservation"),
            client.reservation(order).await,
        );
        state.insert(
            format!("{order} notifications"),
            client.notifications(order).await.into(),
        );
    }
    state
}

async fn all_caught_up(pipeline: &Pipeline, client: &Client) {
    for group in GROUPS {
        let path = format!("/v1/groups/{}", pipeline.topic(group));
        testkit::eventually(
            &format!("group {group} to catch up"),
            e2e::client::PATIENCE,
            async || {
                (client.replayer(Method::GET, &path, None).await.ok()["lag"] == 0).then_some(())
            },
        )
        .await;
    }
    // What the repeated records led to, if anything, is published by now and caught up with as well.
    let url = format!("{}/v1/sources", pipeline.relay.url());
    testkit::eventually(
        "the relay to have published everything",
        e2e::client::PATIENCE,
        async || {
            let sources = client.call(Method::GET, url.clone(), &[], None).await.ok();
            sources
                .as_array()
                .unwrap()
                .iter()
                .all(|source| source["pending_rows"] == 0)
                .then_some(())
        },
    )
    .await;
}

#[test]
fn everything_twice_changes_nothing() {
    alone(async |pipeline, client| {
        let lamp = product("twice");
        client.stock(&lamp, 5).await;
        let mut orders = Vec::new();
        for number in 0..12 {
            let token = if number % 3 == 2 {
                "tok_declined"
            } else {
                "tok_approved"
            };
            orders.push(client.submit(&one_line(&lamp, 1, token)).await);
        }
        for order in &orders {
            client.settled(order).await;
        }
        let cancelled = client.submit(&one_line(&lamp, 1, "tok_approved")).await;
        client.cancel(&cancelled, "twice").await;
        client.settled(&cancelled).await;
        orders.push(cancelled);
        all_caught_up(pipeline, &client).await;
        let notified = async || {
            for order in &orders {
                if client.notifications(order).await.is_empty() {
                    return None;
                }
            }
            Some(())
        };
        testkit::eventually("every notification", e2e::client::PATIENCE, notified).await;
        let before = state(&client, &orders, &lamp).await;

        let sender = testkit::kafka::Sender::new();
        // First in the order in which they lie, then key by key in reverse, so that batches fall differently.
        for reversed in [false, true] {
            for topic in TOPICS {
                let topic = pipeline.topic(topic);
                let mut records = testkit::kafka::read_committed(&topic).await;
                records.retain(|record| {
                    orders
                        .iter()
                        .any(|order| record.key.as_deref() == Some(order.as_bytes()))
                });
                assert!(!records.is_empty(), "{topic} carried these orders");
                if reversed {
                    records.sort_by(|a, b| b.key.cmp(&a.key).then(a.offset.cmp(&b.offset)));
                }
                for record in records {
                    let (key, value) = (record.key.as_deref(), record.value.as_deref());
                    sender
                        .send(&topic, Some(record.partition), key, value, &record.headers)
                        .await;
                }
            }
            all_caught_up(pipeline, &client).await;
            assert_eq!(
                state(&client, &orders, &lamp).await,
                before,
                "reversed: {reversed}"
            );
        }
    });
}
