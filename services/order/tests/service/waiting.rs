//! Clients that wait for the verdict.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use crate::common::{Service, handle, json_of, one_mug, straight};

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
