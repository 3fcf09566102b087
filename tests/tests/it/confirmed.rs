//! An order is confirmed, and every service agrees on it.

use crate::shared;
use e2e::client::{one_line, product};
use serde_json::{Value, json};

/// The timeline's steps in order, without repetitions of the same step.
fn steps(timeline: &[Value]) -> Vec<String> {
    timeline
        .iter()
        .map(|entry| entry["step"].as_str().expect("a step").to_owned())
        .collect()
}

#[test]
fn an_order_is_confirmed_and_every_service_agrees() {
    shared(async |_, client| {
        let lamp = product("lamp");
        client.stock(&lamp, 10).await;
        let order = client.submit(&one_line(&lamp, 3, "tok_approved")).await;
        let settled = client.settled(&order).await;
        assert_eq!(
            (settled["status"].as_str(), settled["verdict"].as_str()),
            (Some("PAID"), Some("confirmed"))
        );

        let timeline = client.timeline(&order).await;
        let steps = steps(&timeline);
        for wanted in [
            "order.placed",
            "stock.reserved",
            "payment.authorized",
            "stock.committed",
            "payment.captured",
        ] {
            assert!(
                steps.iter().any(|step| step == wanted),
                "{wanted} is missing in {steps:?}"
            );
        }
        assert_eq!(timeline.last().unwrap()["status"], "PAID");
        for entry in &timeline {
            assert!(entry["at"].is_string(), "{entry}");
        }
        let caused = timeline
            .iter()
            .filter(|entry| entry["cause"]["event_id"].is_string())
            .count();
        assert!(
            caused >= 4,
            "each answer names the event that brought it: {timeline:?}"
        );

        let level = client.level(&lamp).await;
        assert_eq!(
            (
                level["on_hand"].as_i64(),
                level["reserved"].as_i64(),
                level["available"].as_i64()
            ),
            (Some(7), Some(0), Some(7))
        );
        assert_eq!(client.reservation(&order).await["status"], "committed");
        assert_eq!(client.payment(&order).await["state"], "captured");
        let ledger = client.ledger(&order).await;
        assert_eq!(
            effects(&ledger),
            [("authorize", 1), ("capture", 1), ("void", 0), ("refund", 0)]
        );

        let notes = testkit::eventually("the notification", e2e::client::PATIENCE, async || {
            let notes = client.notifications(&order).await;
            (!notes.is_empty()).then_some(notes)
        })
        .await;
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert_eq!(notes[0]["status"], "sent");
    });
}

/// Effects by operation, as the provider's ledger counts them.
pub(crate) fn effects(ledger: &Value) -> [(&'static str, i64); 4] {
    ["authorize", "capture", "void", "refund"].map(|operation| {
        (
            operation,
            ledger["effects"][operation].as_i64().unwrap_or(0),
        )
    })
}

#[test]
fn waiting_for_the_verdict_answers_with_it() {
    shared(async |pipeline, client| {
        let lamp = product("lamp");
        client.stock(&lamp, 1).await;
        let headers = [("idempotency-key", lamp.as_str()), ("prefer", "wait=30")];
        let url = format!("{}/v1/orders", pipeline.order.url());
        let answer = client
            .call(
                reqwest::Method::POST,
                url,
                &headers,
                Some(&one_line(&lamp, 1, "tok_approved")),
            )
            .await;
        assert_eq!(answer.ok()["verdict"], "confirmed");
        assert!(answer.headers.contains_key("location"));
    });
}

#[test]
fn a_wrong_order_names_every_mistake() {
    shared(async |_, client| {
        let mut wrong = one_line("lamp", 1, "tok_approved");
        wrong["currency"] = json!("EURO");
        wrong["total_minor"] = json!(5);
        wrong["surprise"] = json!(1);
        wrong["lines"] = json!([
            { "product": "lamp", "quantity": 0, "unit_price_minor": 1 },
            { "product": "lamp", "quantity": 1, "unit_price_minor": -1 },
        ]);
        let answer = client.submit_with("wrong-order", &wrong).await;
        assert_eq!(answer.status, 422, "{}", answer.json());
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        let problem = answer.json();
        let pointers: Vec<_> = problem["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["pointer"].as_str().unwrap().to_owned())
            .collect();
        for wanted in [
            "/currency",
            "/surprise",
            "/lines/0/quantity",
            "/lines/1/unit_price_minor",
            "/lines/1/product",
        ] {
            assert!(
                pointers
                    .iter()
                    .any(|pointer| pointer.trim_start_matches('#') == wanted),
                "{wanted} is missing in {pointers:?}"
            );
        }
    });
}
