//! The provider is away: nothing is counted against a record, and it goes on by itself afterwards.

use std::time::Duration;

use oncebox::{BatchFailure, ErrorClass};
use serde_json::json;
use testkit::eventually;

use crate::harness::{Fixture, Patience, authorize, order};

const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn every_kind_of_outage_is_one_and_ends() {
    let fixture = Fixture::new("kinds").await;
    let order = order();

    fixture.mode(json!({"down": true})).await;
    let failure = fixture.refused(authorize(order, "tok_approved")).await;
    assert_eq!(
        (failure.class, failure.code),
        (ErrorClass::Outage, "payment.provider_unavailable")
    );
    fixture.mode(json!({})).await;

    fixture.proxy.cut();
    let failure = fixture.refused(authorize(order, "tok_approved")).await;
    assert_eq!(
        (failure.class, failure.code),
        (ErrorClass::Outage, "payment.provider_unreachable")
    );
    fixture.proxy.mend();

    fixture
        .deliver(&[authorize(order, "tok_approved")])
        .await
        .unwrap();
    assert_eq!(fixture.answer_types(order).await, ["PaymentAuthorized"]);
    assert_eq!(fixture.effects(order).await, [1, 0, 0, 0]);
}

#[tokio::test]
async fn nothing_listening_is_an_outage_too() {
    let fixture = Fixture::new("refused").await;
    let free = testkit::free_port();
    let settings = payment::provider::ProviderSettings {
        url: format!("http://127.0.0.1:{free}"),
        timeout: Duration::from_secs(2),
        circuit: payment::domain::circuit::Limits {
            failures: 5,
            open_for: Duration::from_secs(1),
        },
    };
    let provider = std::sync::Arc::new(payment::provider::Provider::new(settings).unwrap());
    let outbox = oncebox::Outbox::new(fixture.codec.clone(), "payment", "");
    let payments = payment::handlers::Payments::new(fixture.db.pool().clone(), outbox, provider, 4);
    let order = order();
    let failure = fixture
        .deliver_to(&payments, &[authorize(order, "tok_approved")])
        .await
        .unwrap_err();
    let failure = crate::harness::only(failure);
    assert_eq!(
        (failure.class, failure.code),
        (ErrorClass::Outage, "payment.provider_unreachable")
    );
    assert_eq!(
        fixture.state(order).await,
        "created",
        "nothing can have arrived"
    );
    fixture
        .deliver(&[authorize(order, "tok_approved")])
        .await
        .unwrap();
}

#[tokio::test]
async fn the_circuit_opens_spares_the_provider_and_recovers() {
    let patience = Patience {
        circuit_failures: 3,
        circuit_open_ms: 300,
        ..Patience::default()
    };
    let fixture = Fixture::with("circuit", patience).await;
    fixture.mode(json!({"error_ratio": 1.0, "seed": 1})).await;
    let orders: Vec<_> = (0..40).map(|_| order()).collect();
    let commands: Vec<_> = orders
        .iter()
        .map(|order| authorize(*order, "tok_approved"))
        .collect();
    let BatchFailure::Whole(outage) = fixture.deliver(&commands).await.unwrap_err() else {
        panic!("an open circuit is everybody's outage")
    };
    assert_eq!(
        (outage.class, outage.code),
        (ErrorClass::Outage, "payment.provider_circuit_open")
    );
    let asked = fixture.get("/v1/ledger").await["calls"]["authorize"]
        .as_u64()
        .unwrap();
    // Three open it; up to sixteen are under way by then.
    assert!(
        (3..=18).contains(&asked),
        "an open circuit calls nobody: {asked}"
    );

    fixture.mode(json!({})).await;
    eventually("the circuit to close", DEADLINE, async || {
        fixture.deliver(&commands).await.ok()
    })
    .await;
    let ledger = fixture.get("/v1/ledger").await;
    assert_eq!(
        (&ledger["effects"]["authorize"], &ledger["doubled"]),
        (&40.into(), &json!([]))
    );
}

#[tokio::test]
async fn one_order_that_always_fails_stops_no_other() {
    let patience = Patience {
        circuit_failures: 3,
        circuit_open_ms: 60_000,
        ..Patience::default()
    };
    let fixture = Fixture::with("oneorder", patience).await;
    let (sick, healthy) = (order(), order());
    for _ in 0..8 {
        let failure = fixture.refused(authorize(sick, "tok_error_1000000")).await;
        assert_eq!(failure.class, ErrorClass::Transient);
    }
    fixture
        .deliver(&[authorize(healthy, "tok_approved")])
        .await
        .unwrap();
}
