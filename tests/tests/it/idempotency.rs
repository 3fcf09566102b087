//! The same key twenty times at once: one order, one answer.

use std::collections::HashSet;
use std::time::Duration;

use crate::shared;
use e2e::client::{one_line, product};
use sqlx::Connection;

#[test]
fn twenty_equal_submissions_are_one_order() {
    shared(async |pipeline, client| {
        let lamp = product("lamp");
        client.stock(&lamp, 100).await;
        let order = one_line(&lamp, 1, "tok_approved");
        let mut running = Vec::new();
        for _ in 0..20 {
            let (client, order, key) = (client.clone(), order.clone(), lamp.clone());
            running.push(async move {
                // 409 is allowed while the first is in flight; then the answer.
                testkit::eventually(
                    "an answer to a repeated key",
                    Duration::from_secs(20),
                    async || {
                        let answer = client.submit_with(&key, &order).await;
                        if answer.status == 409 {
                            assert!(answer.headers.contains_key("retry-after"));
                            return None;
                        }
                        Some(answer)
                    },
                )
                .await
            });
        }
        let answers = futures::future::join_all(running).await;
        let bodies: HashSet<_> = answers
            .iter()
            .map(|answer| (answer.status, answer.bytes.clone()))
            .collect();
        assert_eq!(bodies.len(), 1, "twenty equal answers");
        let first = answers
            .iter()
            .filter(|answer| !answer.headers.contains_key("idempotent-replayed"))
            .count();
        assert_eq!(first, 1, "one was the first, the others repeat it");

        let other = client
            .submit_with(&lamp, &one_line(&lamp, 2, "tok_approved"))
            .await;
        assert_eq!(other.status, 422, "{}", other.json());

        let id = answers[0].json()["order_id"].as_str().unwrap().to_owned();
        client.settled(&id).await;
        assert_eq!(
            client.level(&lamp).await["on_hand"],
            99,
            "one order took one unit"
        );
        let mut database = sqlx::PgConnection::connect(&pipeline.database("order"))
            .await
            .unwrap();
        let events: i64 = sqlx::query_scalar(
            "select count(*) from oncebox.outbox where key = $1 and headers->>'ce_type' = 'oncebox.order.OrderPlaced'",
        )
        .bind(id.as_bytes())
        .fetch_one(&mut database)
        .await
        .unwrap();
        assert_eq!(events, 1);
    });
}

#[test]
fn a_submission_without_a_key_is_refused() {
    shared(async |pipeline, client| {
        let url = format!("{}/v1/orders", pipeline.order.url());
        let answer = client
            .call(
                reqwest::Method::POST,
                url,
                &[],
                Some(&one_line("lamp", 1, "tok_approved")),
            )
            .await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.headers["content-type"], "application/problem+json");
    });
}
