//! What happens when a process dies, or an answer does, between the provider and the commit.

use std::time::Duration;

use oncebox::{BatchHandler, ErrorClass};
use payment::domain::payment::State;
use payment::store;
use testkit::eventually;

use crate::harness::{Fixture, Patience, authorize, capture, deliveries, order};

const DEADLINE: Duration = Duration::from_secs(60);

/// Gives up before the answer, and not before a look-up.
pub(crate) const HASTY: Patience = Patience {
    timeout_ms: 1_000,
    circuit_failures: 1_000,
    circuit_open_ms: 200,
};

#[tokio::test]
async fn captured_but_the_answer_is_lost_is_captured_once() {
    let fixture = Fixture::with("lost", HASTY).await;
    let order = order();
    fixture
        .deliver(&[authorize(order, "tok_timeout_authorize_capture")])
        .await
        .unwrap();
    fixture.deliver(&[capture(order)]).await.unwrap();
    assert_eq!(
        fixture.answer_types(order).await,
        ["PaymentAuthorized", "PaymentCaptured"]
    );
    // One call each: what became of it was looked up, not tried again.
    assert_eq!(
        (fixture.effects(order).await, fixture.calls(order).await),
        ([1, 1, 0, 0], [1, 1, 0, 0])
    );
}

#[tokio::test]
async fn killed_after_the_provider_captured_and_before_anything_was_stored() {
    let fixture = Fixture::new("killed").await;
    let order = order();
    fixture
        .deliver(&[authorize(order, "tok_timeout_capture")])
        .await
        .unwrap();

    let patient = Patience {
        timeout_ms: 60_000,
        ..Patience::default()
    };
    let doomed = fixture.restarted(patient);
    let dying = tokio::spawn(async move { doomed.prepare(&deliveries(&[capture(order)])).await });
    eventually("the provider to have captured", DEADLINE, async || {
        (fixture.effects(order).await[1] == 1).then_some(())
    })
    .await;
    dying.abort();
    assert!(
        dying.await.unwrap_err().is_cancelled(),
        "it still waited for the answer"
    );
    assert_eq!(
        fixture.state(order).await,
        "unknown",
        "the intent was committed before the call"
    );

    let lost = store::queries::payments(fixture.db.pool(), Some(State::Unknown), None, 10);
    let lost: Vec<_> = lost
        .await
        .unwrap()
        .into_iter()
        .map(|row| row.order_id)
        .collect();
    assert_eq!(lost, [order], "an operator finds it");
    assert_eq!(store::queries::unknown(fixture.db.pool()).await.unwrap(), 1);

    let successor = fixture.restarted(Patience::default());
    fixture
        .deliver_to(&successor, &[capture(order)])
        .await
        .unwrap();
    assert_eq!(
        fixture.answer_types(order).await,
        ["PaymentAuthorized", "PaymentCaptured"]
    );
    assert_eq!(
        (fixture.effects(order).await, fixture.calls(order).await),
        ([1, 1, 0, 0], [1, 1, 0, 0])
    );
    assert_eq!(fixture.state(order).await, "captured");
    assert_eq!(store::queries::unknown(fixture.db.pool()).await.unwrap(), 0);
}

#[tokio::test]
async fn killed_between_the_two_phases_or_before_the_commit() {
    let fixture = Fixture::new("between").await;
    let order = order();
    for command in [authorize(order, "tok_approved"), capture(order)] {
        let batch = deliveries(std::slice::from_ref(&command));
        fixture.payments.prepare(&batch).await.unwrap();
        // The process dies with the transaction open.
        let mut tx = fixture.db.pool().begin().await.unwrap();
        fixture.payments.handle(&mut tx, &batch).await.unwrap();
        drop(tx);
        assert!(
            fixture
                .restarted(Patience::default())
                .prepare(&batch)
                .await
                .is_ok()
        );
        fixture.deliver(&[command]).await.unwrap();
    }
    assert_eq!(
        fixture.answer_types(order).await,
        ["PaymentAuthorized", "PaymentCaptured"]
    );
    assert_eq!(fixture.calls(order).await, [1, 1, 0, 0]);
}

#[tokio::test]
async fn handled_without_being_prepared_is_no_answer() {
    let fixture = Fixture::new("unprepared").await;
    let batch = deliveries(&[authorize(order(), "tok_approved")]);
    let mut tx = fixture.db.pool().begin().await.unwrap();
    let failure = crate::harness::only(fixture.payments.handle(&mut tx, &batch).await.unwrap_err());
    assert_eq!(
        (failure.class, failure.code),
        (ErrorClass::Transient, "payment.not_settled")
    );
}

#[tokio::test]
async fn two_processes_with_the_same_commands_charge_once() {
    let fixture = Fixture::new("twins").await;
    let orders: Vec<_> = (0..40).map(|_| order()).collect();
    let (one, two) = (
        fixture.restarted(Patience::default()),
        fixture.restarted(Patience::default()),
    );
    for make in [
        (|order| authorize(order, "tok_slow_20")) as fn(_) -> _,
        capture,
    ] {
        let forward: Vec<_> = orders.iter().map(|order| make(*order)).collect();
        let backward: Vec<_> = orders.iter().rev().map(|order| make(*order)).collect();
        let (first, second) = tokio::join!(
            fixture.deliver_to(&one, &forward),
            fixture.deliver_to(&two, &backward)
        );
        first.unwrap();
        second.unwrap();
    }
    let ledger = fixture.get("/v1/ledger").await;
    assert_eq!(ledger["doubled"], serde_json::json!([]));
    assert_eq!(
        (
            &ledger["effects"]["authorize"],
            &ledger["effects"]["capture"]
        ),
        (&40.into(), &40.into())
    );
}

#[tokio::test]
async fn a_request_that_arrives_late_is_not_a_second_one() {
    let fixture = Fixture::with("late", HASTY).await;
    let order = order();
    let failures = fixture.persist(authorize(order, "tok_slow_2500")).await;
    assert_eq!(
        (failures[0].class, failures[0].code),
        (ErrorClass::Transient, "payment.provider_no_answer")
    );
    assert_eq!(fixture.effects(order).await, [1, 0, 0, 0]);
    assert_eq!(fixture.answer_types(order).await, ["PaymentAuthorized"]);
}
