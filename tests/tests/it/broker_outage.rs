//! The broker is away for twenty seconds while orders come in: all are accepted, and all end well by themselves.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::alone;
use devstack::{Stack, Stop};
use e2e::client::{one_line, product};

const ORDERS: usize = 200;
const OUTAGE: Duration = Duration::from_secs(20);

#[test]
fn orders_are_accepted_while_the_broker_is_away() {
    let state = std::env::var("ONCEBOX_TEST_STACK")
        .expect("ONCEBOX_TEST_STACK is not set: this test stops the broker of a private stack; run it by `cargo dev test`");
    let stack = Stack::attach(&PathBuf::from(state)).unwrap();
    alone(async |pipeline, client| {
        let lamp = product("outage");
        client.stock(&lamp, 1000).await;
        let pids: Vec<_> = pipeline
            .services()
            .iter()
            .map(|service| service.pid())
            .collect();
        stack.stop_kafka(Stop::Kill).await.unwrap();
        let down_since = Instant::now();
        let mut orders = Vec::new();
        for _ in 0..ORDERS {
            orders.push(client.submit(&one_line(&lamp, 1, "tok_approved")).await);
        }
        // The length of the outage is what is tested, so this is time and not a condition.
        tokio::time::sleep(OUTAGE.saturating_sub(down_since.elapsed())).await;
        stack.start_kafka().await.unwrap();
        testkit::eventually("every order to end", Duration::from_secs(120), async || {
            for order in &orders {
                if client.order(order).await["settled"] != true {
                    return None;
                }
            }
            Some(())
        })
        .await;
        for order in &orders {
            assert_eq!(client.order(order).await["verdict"], "confirmed");
        }
        let level = client.level(&lamp).await;
        assert_eq!(
            (level["on_hand"].as_i64(), level["reserved"].as_i64()),
            (Some(800), Some(0))
        );
        let after: Vec<_> = pipeline
            .services()
            .iter()
            .map(|service| service.pid())
            .collect();
        assert_eq!(after, pids, "nothing was restarted");
        for service in pipeline.services() {
            service.ready().await;
        }
    });
}
