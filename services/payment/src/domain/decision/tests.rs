//! What a command leads to in each state, on purpose one by one.

use uuid::Uuid;

use super::*;
use crate::domain::account::AccountName;
use crate::domain::answer::Answer;
use crate::domain::command::Authorize;
use crate::domain::operation::OrderId;
use crate::domain::payment::{Charge, Outcome, State, Tries};

const NOT_ASKED: &[(Operation, Tries)] = &[];
const UNANSWERED: Tries = Tries {
    calls: 1,
    answers: 0,
};
const ANSWERED: Tries = Tries {
    calls: 1,
    answers: 1,
};

fn ask() -> Ask {
    Ask::Authorize(Authorize::new("customer-1", 1250, "EUR", "tok_approved").unwrap())
}

fn payment(standing: Standing, tries: &[(Operation, Tries)]) -> Payment {
    let Ask::Authorize(ask) = ask() else {
        unreachable!()
    };
    let charge = Charge {
        customer: ask.customer,
        amount: ask.amount,
        currency: ask.currency,
        token: ask.token,
        account: AccountName::new("acme-eur"),
    };
    Payment::new(OrderId(Uuid::nil()), Some(charge), standing, tries.to_vec())
}

fn authorized() -> Standing {
    Standing::Authorized {
        authorization: "auth_1".into(),
    }
}

fn captured() -> Standing {
    Standing::Captured {
        authorization: "auth_1".into(),
        capture: "cap_1".into(),
    }
}

fn next(payment: &Payment, ask: &Ask, absent: &[Operation]) -> Decision {
    decide(Some(payment), ask, &Absent(absent.to_vec()))
}

#[test]
fn authorises_once_and_looks_up_before_it_repeats() {
    assert_eq!(
        next(&payment(Standing::Created, NOT_ASKED), &ask(), &[]),
        Decision::Call(Operation::Authorize)
    );
    for tries in [UNANSWERED, ANSWERED] {
        let tried = payment(Standing::Created, &[(Operation::Authorize, tries)]);
        assert_eq!(
            next(&tried, &ask(), &[]),
            Decision::LookUp(Operation::Authorize)
        );
        assert_eq!(
            next(&tried, &ask(), &[Operation::Authorize]),
            Decision::Call(Operation::Authorize)
        );
    }
}

#[test]
fn without_a_merchant_account_nothing_is_called() {
    let mut payment = payment(Standing::Created, NOT_ASKED);
    payment.charge.as_mut().unwrap().account = None;
    assert_eq!(
        next(&payment, &ask(), &[]),
        Decision::Refuse(Refusal::MerchantAccountMissing)
    );
}

#[test]
fn a_settled_command_is_answered_from_what_is_stored() {
    let declined = Standing::Declined {
        code: "c".into(),
        reason: "r".into(),
    };
    let answered_declined = Answer::Declined {
        code: "c".into(),
        reason: "r".into(),
    };
    let cases = [
        (
            ask(),
            authorized(),
            Answer::Authorized {
                authorization: "auth_1".into(),
            },
        ),
        (
            ask(),
            captured(),
            Answer::Authorized {
                authorization: "auth_1".into(),
            },
        ),
        (ask(), declined.clone(), answered_declined.clone()),
        (ask(), Standing::Voided, Answer::Voided { refunded: false }),
        (ask(), Standing::Refunded, Answer::Voided { refunded: true }),
        (
            Ask::Capture,
            captured(),
            Answer::Captured {
                capture: "cap_1".into(),
            },
        ),
        (Ask::Capture, declined.clone(), answered_declined),
        (
            Ask::Capture,
            Standing::Voided,
            Answer::Voided { refunded: false },
        ),
        (
            Ask::Capture,
            Standing::Refunded,
            Answer::Voided { refunded: true },
        ),
        (Ask::Void, declined, Answer::Voided { refunded: false }),
        (
            Ask::Void,
            Standing::Voided,
            Answer::Voided { refunded: false },
        ),
        (
            Ask::Void,
            Standing::Refunded,
            Answer::Voided { refunded: true },
        ),
    ];
    for (ask, standing, expected) in cases {
        let payment = payment(standing, NOT_ASKED);
        assert_eq!(
            next(&payment, &ask, &[]),
            Decision::Settled,
            "{ask:?} {:?}",
            payment.standing
        );
        assert_eq!(answer(&payment, &ask), Some(expected));
    }
}

#[test]
fn captures_only_what_is_authorised_and_not_being_voided() {
    assert_eq!(
        next(&payment(authorized(), NOT_ASKED), &Ask::Capture, &[]),
        Decision::Call(Operation::Capture)
    );
    let tried = payment(authorized(), &[(Operation::Capture, UNANSWERED)]);
    assert_eq!(
        next(&tried, &Ask::Capture, &[]),
        Decision::LookUp(Operation::Capture)
    );
    let voiding = payment(authorized(), &[(Operation::Void, UNANSWERED)]);
    assert_eq!(
        next(&voiding, &Ask::Capture, &[]),
        Decision::Refuse(Refusal::VoidBegun)
    );
    let created = payment(Standing::Created, NOT_ASKED);
    assert_eq!(
        next(&created, &Ask::Capture, &[]),
        Decision::Refuse(Refusal::NothingAuthorized)
    );
    assert_eq!(
        decide(None, &Ask::Capture, &Absent::default()),
        Decision::Refuse(Refusal::NothingAuthorized)
    );
}

#[test]
fn a_void_before_any_authorisation_leaves_a_tombstone() {
    assert_eq!(
        next(&payment(Standing::Created, NOT_ASKED), &Ask::Void, &[]),
        Decision::Bury
    );
    let refused = payment(Standing::Created, &[(Operation::Authorize, ANSWERED)]);
    assert_eq!(
        next(&refused, &Ask::Void, &[]),
        Decision::LookUp(Operation::Authorize)
    );
    assert_eq!(
        next(&refused, &Ask::Void, &[Operation::Authorize]),
        Decision::Bury
    );
}

#[test]
fn a_void_never_buries_an_authorisation_that_may_still_arrive() {
    let lost = payment(Standing::Created, &[(Operation::Authorize, UNANSWERED)]);
    assert_eq!(
        next(&lost, &Ask::Void, &[]),
        Decision::LookUp(Operation::Authorize)
    );
    assert_eq!(
        next(&lost, &Ask::Void, &[Operation::Authorize]),
        Decision::Call(Operation::Authorize)
    );
}

#[test]
fn a_void_after_capture_is_a_refund() {
    assert_eq!(
        next(&payment(authorized(), NOT_ASKED), &Ask::Void, &[]),
        Decision::Call(Operation::Void)
    );
    assert_eq!(
        next(&payment(captured(), NOT_ASKED), &Ask::Void, &[]),
        Decision::Call(Operation::Refund)
    );
    let lost_refund = payment(captured(), &[(Operation::Refund, UNANSWERED)]);
    assert_eq!(
        next(&lost_refund, &Ask::Void, &[]),
        Decision::LookUp(Operation::Refund)
    );
    let lost_capture = payment(
        authorized(),
        &[
            (Operation::Capture, UNANSWERED),
            (Operation::Void, ANSWERED),
        ],
    );
    assert_eq!(
        next(&lost_capture, &Ask::Void, &[]),
        Decision::LookUp(Operation::Capture)
    );
    assert_eq!(
        next(&lost_capture, &Ask::Void, &[Operation::Capture]),
        Decision::LookUp(Operation::Void)
    );
    let both = [Operation::Capture, Operation::Void];
    assert_eq!(
        next(&lost_capture, &Ask::Void, &both),
        Decision::Call(Operation::Void)
    );
}

#[test]
fn an_outcome_moves_only_the_standing_that_it_follows_from() {
    let approved = Outcome::Approved { id: "x".into() };
    let refused = Outcome::Declined {
        code: "c".into(),
        reason: "r".into(),
    };
    assert_eq!(
        payment(Standing::Voided, NOT_ASKED).after(Operation::Authorize, &approved),
        None
    );
    assert_eq!(
        payment(captured(), NOT_ASKED).after(Operation::Void, &approved),
        None
    );
    assert_eq!(
        payment(authorized(), NOT_ASKED).after(Operation::Capture, &refused),
        None
    );
    assert_eq!(
        payment(captured(), NOT_ASKED).after(Operation::Refund, &approved),
        Some(Standing::Refunded)
    );
}

#[test]
fn an_unanswered_call_is_shown_as_unknown() {
    assert_eq!(
        payment(Standing::Created, &[(Operation::Authorize, UNANSWERED)]).state(),
        State::Unknown
    );
    assert_eq!(
        payment(Standing::Created, &[(Operation::Authorize, ANSWERED)]).state(),
        State::Created
    );
    assert_eq!(
        payment(authorized(), &[(Operation::Capture, UNANSWERED)]).state(),
        State::Unknown
    );
    assert_eq!(
        payment(Standing::Voided, &[(Operation::Capture, UNANSWERED)]).state(),
        State::Voided
    );
}
