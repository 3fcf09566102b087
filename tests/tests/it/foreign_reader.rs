//! A program that is not ours understands our topics: Python's confluent-kafka, through the registry.

use std::process::Command;

use crate::shared;
use e2e::client::{one_line, product};
use serde_json::Value;

const READER: &str = include_str!("reader.py");

#[test]
fn python_reads_order_events_through_the_registry() {
    let python = devstack::python_env().expect("a Python environment");
    shared(async |pipeline, client| {
        let lamp = product("python");
        client.stock(&lamp, 3).await;
        let order = client.submit(&one_line(&lamp, 2, "tok_approved")).await;
        client.settled(&order).await;
        let events = testkit::eventually(
            "both events of the order",
            e2e::client::PATIENCE,
            async || {
                let output = Command::new(&python)
                    .args([
                        "-c",
                        READER,
                        &testkit::kafka_address(),
                        &testkit::registry_address(),
                        &pipeline.topic("order.events"),
                        &order,
                    ])
                    .output()
                    .unwrap();
                assert!(
                    output.status.success(),
                    "{}",
                    String::from_utf8_lossy(&output.stderr)
                );
                let events: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
                (events.len() == 2).then_some(events)
            },
        )
        .await;
        assert_eq!(events[0]["headers"]["ce_type"], "oncebox.order.OrderPlaced");
        assert_eq!(events[0]["value"]["order_id"], order.as_str());
        assert_eq!(events[0]["value"]["lines"][0]["product"], lamp.as_str());
        assert_eq!(events[0]["value"]["total_minor"], 2000);
        assert_eq!(
            events[1]["headers"]["ce_type"],
            "oncebox.order.OrderConfirmed"
        );
        assert_eq!(events[1]["headers"]["ce_specversion"], "1.0");
        // Our partitioner is the one that Java clients and this one use, so a key has one partition for all of them.
        assert_eq!(events[0]["partition"], events[0]["murmur2_partition"]);
    });
}
