//! Voids: before, after and in the middle of what they undo.

use std::time::Duration;

use oncebox::{BatchHandler, ErrorClass};
use testkit::eventually;

use crate::crash::HASTY;
use crate::harness::{Fixture, Patience, authorize, capture, deliveries, order, void, voided};

const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_void_before_any_authorisation_leaves_a_tombstone() {
    let fixture = Fixture::new("tombstone").await;
    let order = order();
    fixture.deliver(&[void(order)]).await.unwrap();
    fixture
        .deliver(&[authorize(order, "tok_approved")])
        .await
        .unwrap();
    fixture.deliver(&[capture(order)]).await.unwrap();
    assert_eq!(fixture.answers(order).await, vec![voided(order, false); 3]);
    assert_eq!(fixture.calls(order).await, [0; 4]);
}

#[tokio::test]
async fn what_is_authorised_is_voided_and_what_is_captured_refunded() {
    let fixture = Fixture::new("undo").await;
    let (held, paid) = (order(), order());
    fixture
        .deliver(&[
            authorize(held, "tok_approved"),
            authorize(paid, "tok_approved"),
        ])
        .await
        .unwrap();
    fixture.deliver(&[capture(paid)]).await.unwrap();
    for _ in 0..2 {
        fixture.deliver(&[void(held), void(paid)]).await.unwrap();
    }
    // Late commands of before find nothing to do.
    fixture
        .deliver(&[capture(held), authorize(paid, "tok_approved")])
        .await
        .unwrap();
    let answers = fixture.answers(held).await;
    assert_eq!(answers[1..], vec![voided(held, false); 3]);
    assert_eq!(
        fixture.answers(paid).await[2..],
        vec![voided(paid, true); 3]
    );
    assert_eq!(
        (fixture.effects(held).await, fixture.effects(paid).await),
        ([1, 0, 1, 0], [1, 1, 0, 1])
    );
    let ledger = fixture.get("/v1/ledger").await;
    assert_eq!(
        (&ledger["held_minor"], &ledger["captured_minor"]),
        (&0.into(), &0.into())
    );
}

#[tokio::test]
async fn commands_of_one_order_in_one_batch_keep_their_order() {
    let fixture = Fixture::new("onebatch").await;
    let (cancelled, refunded) = (order(), order());
    let batch = [
        authorize(cancelled, "tok_approved"),
        authorize(refunded, "tok_approved"),
        void(cancelled),
        capture(refunded),
        void(refunded),
    ];
    fixture.deliver(&batch).await.unwrap();
    assert_eq!(fixture.effects(cancelled).await, [1, 0, 1, 0]);
    assert_eq!(fixture.effects(refunded).await, [1, 1, 0, 1]);
    assert_eq!(
        fixture.answers(refunded).await.last(),
        Some(&voided(refunded, true))
    );
}

#[tokio::test]
async fn a_failed_command_is_not_overtaken_in_its_batch() {
    let fixture = Fixture::new("overtake").await;
    let order = order();
    let failure = fixture
        .deliver(&[authorize(order, "tok_error_1"), void(order)])
        .await
        .unwrap_err();
    assert_eq!(crate::harness::only(failure).code, "payment.provider_error");
    assert_eq!(fixture.state(order).await, "created", "the void waits");
    fixture
        .deliver(&[authorize(order, "tok_error_1"), void(order)])
        .await
        .unwrap_err();
    fixture
        .deliver(&[authorize(order, "tok_error_1"), void(order)])
        .await
        .unwrap();
    assert_eq!(fixture.effects(order).await, [1, 0, 1, 0]);
}

#[tokio::test]
async fn an_authorisation_that_is_still_on_its_way_is_voided_when_it_lands() {
    let fixture = Fixture::with("onitsway", HASTY).await;
    let order = order();
    let failure = fixture.refused(authorize(order, "tok_slow_2500")).await;
    assert_eq!(failure.code, "payment.provider_no_answer");
    // Given up by the order: the void must not take "not known yet" for "never".
    fixture.persist(void(order)).await;
    assert_eq!(fixture.answers(order).await, [voided(order, false)]);
    assert_eq!(fixture.effects(order).await, [1, 0, 1, 0]);
    assert_eq!(fixture.ledger(order).await["held_minor"], 0);
}

#[tokio::test]
async fn a_provider_that_only_failed_holds_nothing_to_void() {
    let fixture = Fixture::new("onlyfailed").await;
    let order = order();
    let failure = fixture.refused(authorize(order, "tok_error_1000000")).await;
    assert_eq!(
        (failure.class, failure.code),
        (ErrorClass::Transient, "payment.provider_error")
    );
    fixture.deliver(&[void(order)]).await.unwrap();
    assert_eq!(fixture.answers(order).await, [voided(order, false)]);
    assert_eq!(fixture.calls(order).await, [1, 0, 0, 0]);
}

#[tokio::test]
async fn a_capture_whose_answer_was_lost_is_refunded() {
    let fixture = Fixture::with("lostcapture", HASTY).await;
    let order = order();
    fixture
        .deliver(&[authorize(order, "tok_timeout_capture_refund")])
        .await
        .unwrap();
    let doomed = fixture.restarted(Patience {
        timeout_ms: 60_000,
        ..Patience::default()
    });
    let dying = tokio::spawn(async move { doomed.prepare(&deliveries(&[capture(order)])).await });
    eventually("the provider to have captured", DEADLINE, async || {
        (fixture.effects(order).await[1] == 1).then_some(())
    })
    .await;
    dying.abort();
    fixture.deliver(&[void(order)]).await.unwrap();
    assert_eq!(
        fixture.answers(order).await.last(),
        Some(&voided(order, true))
    );
    assert_eq!(fixture.effects(order).await, [1, 1, 0, 1]);
}

#[tokio::test]
async fn a_capture_that_lands_during_the_void_is_refunded() {
    let fixture = Fixture::with("race", HASTY).await;
    let order = order();
    fixture.persist(authorize(order, "tok_slow_2500")).await;
    let failure = fixture.refused(capture(order)).await;
    assert_eq!(failure.code, "payment.provider_no_answer");
    fixture.persist(void(order)).await;
    assert_eq!(
        fixture.answers(order).await.last(),
        Some(&voided(order, true))
    );
    assert_eq!(fixture.effects(order).await, [1, 1, 0, 1]);
    let ledger = fixture.ledger(order).await;
    assert_eq!(
        (&ledger["held_minor"], &ledger["captured_minor"]),
        (&0.into(), &0.into())
    );
}
