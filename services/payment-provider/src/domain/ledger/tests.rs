//! The ledger under repeated, late and contradicting operations.

use chrono::DateTime;

use super::*;
use crate::domain::money::{Amount, Currency};

fn authorize(token: &str) -> Work {
    Work::Authorize {
        amount_minor: Amount::new(1250).unwrap(),
        currency: Currency::new("EUR").unwrap(),
        token: token.into(),
        reference: "order-1".into(),
        merchant_account: None,
    }
}

/// Decides and applies, as the provider does for each call.
fn call(ledger: &mut Ledger, key: &str, work: Work) -> Result<Answer, Refusal> {
    let answer = ledger.decide(key, &work, format!("id-of-{key}"));
    let recorded = match &answer {
        Ok(answer) => answer.clone(),
        Err(Refusal::Conflict(_)) => Answer::Refused,
        Err(_) => return answer,
    };
    ledger.apply(Entry {
        at: DateTime::UNIX_EPOCH,
        key: key.into(),
        work,
        answer: recorded,
    });
    answer
}

fn authorized(token: &str) -> (Ledger, String) {
    let mut ledger = Ledger::default();
    call(&mut ledger, "a", authorize(token)).unwrap();
    (ledger, "id-of-a".into())
}

#[test]
fn a_repeated_key_repeats_and_changes_nothing() {
    let (mut ledger, authorization_id) = authorized("tok_approved");
    let capture = Work::Capture { authorization_id };
    assert!(matches!(
        call(&mut ledger, "c", capture.clone()),
        Ok(Answer::Done { .. })
    ));
    assert_eq!(call(&mut ledger, "c", capture), Ok(Answer::Repeated));
    let (tally, effects) = ledger.order("order-1");
    assert_eq!(
        (tally.effects.capture, tally.calls.capture, effects.len()),
        (1, 2, 2)
    );
    assert_eq!((tally.held_minor, tally.captured_minor), (0, 1250));
    assert_eq!(ledger.doubled(), Vec::<&str>::new());
}

#[test]
fn a_key_belongs_to_one_request() {
    let (mut ledger, authorization_id) = authorized("tok_approved");
    assert_eq!(
        call(&mut ledger, "a", authorize("tok_declined")),
        Err(Refusal::KeyReused)
    );
    assert_eq!(
        call(&mut ledger, "a", Work::Capture { authorization_id }),
        Err(Refusal::KeyReused)
    );
}

#[test]
fn a_capture_under_another_key_is_counted_twice() {
    let (mut ledger, authorization_id) = authorized("tok_approved");
    for key in ["c1", "c2"] {
        call(
            &mut ledger,
            key,
            Work::Capture {
                authorization_id: authorization_id.clone(),
            },
        )
        .unwrap();
    }
    assert_eq!(ledger.order("order-1").0.effects.capture, 2);
    assert_eq!(ledger.order("order-1").0.captured_minor, 2500);
    assert_eq!(ledger.doubled(), ["order-1"]);
}

#[test]
fn the_state_forbids_what_makes_no_sense() {
    let (mut ledger, id) = authorized("tok_approved");
    let (capture, void, refund) = (
        Work::Capture {
            authorization_id: id.clone(),
        },
        Work::Void {
            authorization_id: id.clone(),
        },
        Work::Refund {
            authorization_id: id,
        },
    );
    assert_eq!(
        call(&mut ledger, "r", refund.clone()),
        Err(Refusal::Conflict(State::Authorized))
    );
    call(&mut ledger, "c", capture.clone()).unwrap();
    assert_eq!(
        call(&mut ledger, "v", void),
        Err(Refusal::Conflict(State::Captured))
    );
    call(&mut ledger, "r", refund).unwrap();
    assert_eq!(
        call(&mut ledger, "c2", capture),
        Err(Refusal::Conflict(State::Refunded))
    );
    let (tally, _) = ledger.order("order-1");
    assert_eq!(
        (
            tally.effects.refund,
            tally.calls.refund,
            tally.captured_minor
        ),
        (1, 2, 0)
    );
    let unknown = Work::Void {
        authorization_id: "nobody".into(),
    };
    assert_eq!(
        call(&mut ledger, "x", unknown),
        Err(Refusal::NoSuchAuthorization)
    );
}

#[test]
fn an_error_token_fails_each_operation_so_often() {
    let mut ledger = Ledger::default();
    for _ in 0..2 {
        assert_eq!(
            call(&mut ledger, "a", authorize("tok_error_2")),
            Ok(Answer::Failed)
        );
    }
    assert!(matches!(
        call(&mut ledger, "a", authorize("tok_error_2")),
        Ok(Answer::Done { .. })
    ));
    let capture = Work::Capture {
        authorization_id: "id-of-a".into(),
    };
    let answers: Vec<_> = (0..3)
        .map(|_| call(&mut ledger, "c", capture.clone()).unwrap())
        .collect();
    assert_eq!(answers[..2], [Answer::Failed, Answer::Failed]);
    assert!(matches!(answers[2], Answer::Done { .. }));
    assert_eq!(ledger.order("order-1").0.calls.authorize, 3);
}

#[test]
fn declined_holds_nothing() {
    let mut ledger = Ledger::default();
    for (key, token, code) in [
        ("a", "tok_declined", "card_declined"),
        ("b", "visa", "token_unknown"),
    ] {
        let Ok(Answer::Done {
            declined: Some(decline),
            ..
        }) = call(&mut ledger, key, authorize(token))
        else {
            panic!()
        };
        assert_eq!(decline.code, code);
    }
    let (tally, _) = ledger.order("order-1");
    assert_eq!(
        (tally.declined, tally.effects.authorize, tally.held_minor),
        (2, 0, 0)
    );
    let capture = Work::Capture {
        authorization_id: "id-of-a".into(),
    };
    assert_eq!(
        call(&mut ledger, "c", capture),
        Err(Refusal::Conflict(State::Declined))
    );
}
