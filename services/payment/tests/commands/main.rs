//! Payment commands against a real provider and a real database: what is done once stays done once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod compensation;
mod crash;
mod harness;
mod outage;

use oncebox::{BatchFailure, ErrorClass};
use payment::domain::account::AccountName;
use payment::domain::money::Currency;
use payment::store;
use serde_json::json;

use crate::harness::{Fixture, authorize, authorize_in, capture, order, void};

#[tokio::test]
async fn authorises_and_captures_once_and_repeats_its_answers() {
    let fixture = Fixture::new("happy").await;
    let order = order();
    for _ in 0..2 {
        fixture
            .deliver(&[authorize(order, "tok_approved")])
            .await
            .unwrap();
        fixture.deliver(&[capture(order)]).await.unwrap();
    }
    let answers = fixture.answers(order).await;
    assert_eq!(answers.len(), 4);
    assert_eq!(
        (&answers[0], &answers[1]),
        (&answers[2], &answers[3]),
        "the stored answers again"
    );
    let ledger = fixture.ledger(order).await;
    assert_eq!(
        answers[0].1["authorization_id"],
        ledger["operations"][0]["id"]
    );
    assert_eq!(answers[1].1["capture_id"], ledger["operations"][1]["id"]);
    assert_eq!(
        (fixture.effects(order).await, fixture.calls(order).await),
        ([1, 1, 0, 0], [1, 1, 0, 0])
    );
    assert_eq!(ledger["captured_minor"], 1250);
    assert_eq!(fixture.state(order).await, "captured");
}

#[tokio::test]
async fn declined_is_an_answer_and_holds_nothing() {
    let fixture = Fixture::new("declined").await;
    for (token, code) in [
        ("tok_declined", "card_declined"),
        ("4242424242424242", "token_unknown"),
    ] {
        let order = order();
        fixture.deliver(&[authorize(order, token)]).await.unwrap();
        fixture.deliver(&[capture(order)]).await.unwrap();
        fixture.deliver(&[void(order)]).await.unwrap();
        let answers = fixture.answers(order).await;
        assert_eq!(
            (answers[0].0.as_str(), &answers[0].1["reason_code"]),
            ("PaymentDeclined", &json!(code))
        );
        assert_eq!(answers[1], answers[0], "a capture is told the same");
        assert_eq!(answers[2], harness::voided(order, false));
        assert_eq!(fixture.calls(order).await, [1, 0, 0, 0]);
    }
}

#[tokio::test]
async fn a_provider_that_errs_three_times_is_asked_until_it_works() {
    let fixture = Fixture::new("errs").await;
    let order = order();
    for command in [authorize(order, "tok_error_3"), capture(order)] {
        let failures = fixture.persist(command).await;
        assert_eq!(failures.len(), 3);
        for failure in failures {
            assert_eq!(
                (failure.class, failure.code),
                (ErrorClass::Transient, "payment.provider_error")
            );
        }
    }
    assert_eq!(
        (fixture.effects(order).await, fixture.calls(order).await),
        ([1, 1, 0, 0], [4, 4, 0, 0])
    );
    assert_eq!(
        fixture.answer_types(order).await,
        ["PaymentAuthorized", "PaymentCaptured"]
    );
}

#[tokio::test]
async fn without_a_merchant_account_the_provider_is_not_asked_until_there_is_one() {
    let fixture = Fixture::new("account").await;
    let order = order();
    let failure = fixture
        .refused(authorize_in(order, "tok_approved", "CHF"))
        .await;
    assert_eq!(
        (failure.class, failure.code),
        (ErrorClass::Permanent, "payment.merchant_account_missing")
    );
    assert!(
        failure.message.contains("PUT /v1/merchant-accounts/CHF"),
        "{}",
        failure.message
    );
    assert_eq!(fixture.calls(order).await, [0; 4]);
    assert_eq!(fixture.state(order).await, "created");

    let account = AccountName::new("acme-chf").unwrap();
    store::accounts::put(fixture.db.pool(), &Currency::new("CHF").unwrap(), &account)
        .await
        .unwrap();
    fixture
        .deliver(&[authorize_in(order, "tok_approved", "CHF")])
        .await
        .unwrap();
    assert_eq!(fixture.answer_types(order).await, ["PaymentAuthorized"]);
}

#[tokio::test]
async fn a_bad_command_fails_alone_and_by_name() {
    let fixture = Fixture::new("bad").await;
    let (good, bad, unknown) = (order(), order(), order());
    let mut invalid = authorize(bad, "tok secret");
    if let schemas::PaymentCommand::AuthorizePayment(event) = &mut invalid {
        event.amount_minor = 5;
    }
    let batch = [invalid, authorize(good, "tok_approved"), capture(unknown)];
    let Err(BatchFailure::Records(failed)) = fixture.deliver(&batch).await else {
        panic!("must fail by record")
    };
    let mut codes: Vec<_> = failed
        .iter()
        .map(|(index, failure)| (*index, failure.class, failure.code))
        .collect();
    codes.sort_by_key(|(index, ..)| *index);
    let permanent = ErrorClass::Permanent;
    assert_eq!(
        codes,
        [
            (0, permanent, "payment.command_invalid"),
            (2, permanent, "payment.not_capturable")
        ]
    );
    assert!(
        failed
            .iter()
            .all(|(_, failure)| !failure.message.contains("secret")),
        "a token is not shown"
    );
    assert_eq!(
        fixture.answers(good).await,
        [],
        "not before the transaction of the good ones"
    );
    fixture.deliver(&batch[1..2]).await.unwrap();
    assert_eq!(fixture.calls(good).await, [1, 0, 0, 0]);
}

#[tokio::test]
async fn a_hundred_orders_with_a_tenth_of_all_calls_failing_are_each_captured_once() {
    let fixture = Fixture::new("tenth").await;
    fixture.mode(json!({"error_ratio": 0.1, "seed": 42})).await;
    let orders: Vec<_> = (0..100).map(|_| order()).collect();
    let (mut failures, mut rounds) = (0, 0);
    for make in [
        (|order| authorize(order, "tok_approved")) as fn(_) -> _,
        capture,
    ] {
        let mut waiting = orders.clone();
        while !waiting.is_empty() {
            rounds += 1;
            assert!(rounds < 50);
            let commands: Vec<_> = waiting.iter().map(|order| make(*order)).collect();
            match fixture.deliver(&commands).await {
                Ok(()) => waiting.clear(),
                Err(BatchFailure::Records(failed)) => {
                    failures += failed.len();
                    let failed: Vec<usize> = failed.into_iter().map(|(index, _)| index).collect();
                    let good: Vec<_> = (0..waiting.len())
                        .filter(|index| !failed.contains(index))
                        .map(|index| make(waiting[index]))
                        .collect();
                    fixture.deliver(&good).await.unwrap();
                    waiting = failed.iter().map(|index| waiting[*index]).collect();
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    assert!(failures > 5, "the mode was on: {failures}");
    let ledger = fixture.get("/v1/ledger").await;
    assert_eq!(
        ledger["effects"],
        json!({"authorize": 100, "capture": 100, "void": 0, "refund": 0})
    );
    assert_eq!(ledger["doubled"], json!([]));
    for order in orders {
        assert_eq!(
            fixture.answer_types(order).await,
            ["PaymentAuthorized", "PaymentCaptured"]
        );
    }
}
