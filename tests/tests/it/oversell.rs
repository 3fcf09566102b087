//! More orders than stock: exactly as many winners as there are units, and every loser has a reason.

use crate::shared;
use e2e::Client;
use e2e::client::{one_line, product};

/// Submits all quantities at once against a stock, and returns how many were confirmed.
async fn race(client: &Client, label: &str, stock: i64, quantities: &[i64]) -> (usize, i64) {
    let product = product(label);
    client.stock(&product, stock).await;
    let mut running = Vec::new();
    for quantity in quantities {
        let (client, order) = (
            client.clone(),
            one_line(&product, *quantity, "tok_approved"),
        );
        running.push(async move {
            let id = client.submit(&order).await;
            client.settled(&id).await
        });
    }
    let orders = futures::future::join_all(running).await;
    for order in &orders {
        match order["verdict"].as_str() {
            Some("confirmed") => {}
            Some("rejected") => {
                assert_eq!(order["reason_code"], "insufficient_stock", "{order}");
                assert!(
                    order["reason"].as_str().unwrap().contains(&product),
                    "the reason names the product: {order}"
                );
            }
            other => panic!("verdict {other:?}: {order}"),
        }
    }
    let confirmed = orders
        .iter()
        .filter(|order| order["verdict"] == "confirmed")
        .count();
    let level = client.level(&product).await;
    assert_eq!(level["reserved"], 0, "{level}");
    (confirmed, level["on_hand"].as_i64().unwrap())
}

#[test]
fn ten_orders_for_five_units() {
    shared(async |_, client| assert_eq!(race(&client, "five", 5, &[1; 10]).await, (5, 0)));
}

#[test]
fn fifteen_orders_of_two_for_ten_units() {
    shared(async |_, client| assert_eq!(race(&client, "ten", 10, &[2; 15]).await, (5, 0)));
}

#[test]
fn eight_and_five_for_ten_units() {
    shared(async |_, client| {
        let (confirmed, left) = race(&client, "either", 10, &[8, 5]).await;
        assert_eq!(confirmed, 1);
        assert!(left == 2 || left == 5, "{left} left");
    });
}
