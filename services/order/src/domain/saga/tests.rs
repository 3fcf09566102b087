//! The saga's rules, one by one. `model` explores all of them together.

use std::collections::HashSet;

use super::*;

fn run(events: &[SagaEvent]) -> (Saga, Vec<&'static str>, Vec<Outcome>) {
    let first = start();
    let mut saga = first.saga;
    let mut commands: Vec<_> = first.commands.iter().map(Command::name).collect();
    let mut outcomes = Vec::new();
    for event in events {
        if let Some(next) = saga.on(event) {
            saga = next.saga;
            commands.extend(next.commands.iter().map(Command::name));
            outcomes.extend(next.outcome);
        }
    }
    (saga, commands, outcomes)
}

fn reason(outcomes: &[Outcome]) -> &Cancellation {
    match outcomes {
        [Outcome::Cancelled(cancellation)] => cancellation,
        [Outcome::Confirmed, Outcome::Cancelled(cancellation)] => cancellation,
        other => panic!("expected one cancellation, found {other:?}"),
    }
}

fn cancel_request() -> SagaEvent {
    SagaEvent::CancelRequested {
        reason: "changed my mind".to_owned(),
    }
}

fn declined() -> SagaEvent {
    SagaEvent::PaymentDeclined {
        code: "card_declined".to_owned(),
        reason: "no funds".to_owned(),
    }
}

#[test]
fn the_straight_way_ends_paid_whichever_leg_is_first() {
    let (captured, committed) = (SagaEvent::PaymentCaptured, SagaEvent::StockCommitted);
    for last in [[captured.clone(), committed.clone()], [committed, captured]] {
        let mut events = vec![SagaEvent::StockReserved, SagaEvent::PaymentAuthorized];
        events.extend(last);
        let (saga, commands, outcomes) = run(&events);
        assert_eq!(saga, Saga::Paid);
        assert_eq!(outcomes, [Outcome::Confirmed]);
        assert_eq!(
            commands,
            [
                "ReserveStock",
                "AuthorizePayment",
                "CommitStock",
                "CapturePayment"
            ]
        );
    }
}

#[test]
fn a_shortage_names_product_wanted_and_available() {
    let short = Shortage {
        product: "mug".to_owned(),
        wanted: 3,
        available: 2,
    };
    let (saga, commands, outcomes) = run(&[SagaEvent::StockRejected(vec![short])]);
    assert_eq!(
        reason(&outcomes),
        &Cancellation {
            verdict: Verdict::Rejected,
            code: "insufficient_stock",
            reason: "insufficient stock for product mug (wanted 3, available 2)".to_owned(),
        }
    );
    assert_eq!((saga.verdict(), saga.settled()), (Verdict::Rejected, true));
    assert_eq!(
        commands,
        ["ReserveStock"],
        "payment must never hear of an order without stock"
    );
}

#[test]
fn a_declined_payment_gives_the_stock_back() {
    let (saga, commands, outcomes) = run(&[SagaEvent::StockReserved, declined()]);
    assert_eq!(reason(&outcomes).code, "payment_declined");
    assert_eq!(
        (saga.verdict(), saga.stock()),
        (Verdict::Rejected, StockLeg::Releasing)
    );
    assert_eq!(
        commands,
        ["ReserveStock", "AuthorizePayment", "ReleaseStock"]
    );
    assert!(!saga.settled());
    let (saga, ..) = run(&[
        SagaEvent::StockReserved,
        declined(),
        SagaEvent::StockReleased,
    ]);
    assert!(saga.settled());
}

#[test]
fn a_cancel_undoes_each_leg_at_every_step() {
    let way = [
        SagaEvent::StockReserved,
        SagaEvent::PaymentAuthorized,
        SagaEvent::StockCommitted,
        SagaEvent::PaymentCaptured,
    ];
    for taken in 0..=way.len() {
        let mut events = way[..taken].to_vec();
        events.push(cancel_request());
        let (saga, commands, outcomes) = run(&events);
        assert_eq!(saga.verdict(), Verdict::Cancelled, "after {taken} steps");
        assert_eq!(reason(&outcomes).reason, "changed my mind");
        assert_eq!(
            commands.contains(&"VoidPayment"),
            taken > 0,
            "after {taken} steps"
        );
        assert!(commands.contains(&"ReleaseStock"), "after {taken} steps");
    }
}

#[test]
fn a_timeout_calls_off_what_is_open_and_leaves_what_is_paid() {
    let (saga, _, outcomes) = run(&[SagaEvent::StockReserved, SagaEvent::TimedOut]);
    assert_eq!(reason(&outcomes).reason, "order processing timeout");
    assert_eq!(reason(&outcomes).code, "timeout");
    assert_eq!(saga.verdict(), Verdict::Cancelled);
    assert_eq!(Saga::Paid.on(&SagaEvent::TimedOut), None);
}

#[test]
fn an_expired_reservation_voids_the_payment() {
    let events = [
        SagaEvent::StockReserved,
        SagaEvent::PaymentAuthorized,
        SagaEvent::StockReleased,
    ];
    let (saga, commands, outcomes) = run(&events);
    assert_eq!(reason(&outcomes).code, "reservation_lost");
    assert_eq!(
        (saga.stock(), saga.payment()),
        (StockLeg::Released, PaymentLeg::Voiding)
    );
    assert_eq!(commands.last(), Some(&"VoidPayment"));
}

#[test]
fn every_state_is_stored_under_names_of_its_own() {
    let mut seen = HashSet::new();
    for saga in Saga::all() {
        let (status, verdict) = (saga.status(), saga.verdict());
        assert!(
            seen.insert((status, verdict, saga.stock(), saga.payment())),
            "{saga:?}"
        );
        assert_eq!(
            Saga::from_parts(status, verdict, saga.stock(), saga.payment()),
            Ok(saga)
        );
    }
    let mixed = Saga::from_parts(
        Status::Paid,
        Verdict::Confirmed,
        StockLeg::Reserved,
        PaymentLeg::Captured,
    );
    assert!(mixed.is_err());
}

#[test]
fn names_are_read_back() {
    assert!(
        Status::ALL
            .iter()
            .all(|each| Status::parse(each.as_str()) == Some(*each))
    );
    assert!(
        Verdict::ALL
            .iter()
            .all(|each| Verdict::parse(each.as_str()) == Some(*each))
    );
    assert!(
        StockLeg::ALL
            .iter()
            .all(|each| StockLeg::parse(each.as_str()) == Some(*each))
    );
    assert!(
        PaymentLeg::ALL
            .iter()
            .all(|each| PaymentLeg::parse(each.as_str()) == Some(*each))
    );
    assert_eq!(Status::parse("paid"), None);
}
