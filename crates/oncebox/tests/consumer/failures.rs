//! One bad record does not take its batch along, and a handler cannot take the process along.

use std::time::{Duration, Instant};

use oncebox::{BatchHandler, Each, ErrorClass};

use crate::rig::{Rig, Running};
use crate::script::{Act, Scripted, Unclear, text};

async fn hundred_with_one_bad(
    label: &str,
    class: ErrorClass,
    start: impl Fn(&Rig, Scripted) -> Running,
) {
    let rig = Rig::new(label, 1).await;
    for n in 0..100 {
        let what = if n == 41 { "bad" } else { "good" };
        rig.note(0, &format!("key-{}", n % 5), &format!("{what}-{n:02}"))
            .await;
    }
    let handler = Scripted::new(move |delivery, _| {
        if text(delivery).starts_with("bad") {
            Act::Fail(class)
        } else {
            Act::Succeed
        }
    });
    let consumer = start(&rig, handler);
    let letters = rig.dead(1).await;
    let mut effects = rig.effects_of(99).await;
    rig.settled().await;
    consumer.stop().await;

    assert_eq!(rig.reordered().await, 0, "each key in order");
    let expected: Vec<String> = (0..100)
        .filter(|n| *n != 41)
        .map(|n| format!("good-{n:02}"))
        .collect();
    if class == ErrorClass::Transient {
        // The others do not wait for the bad one's key.
        effects.sort();
    }
    assert_eq!(effects, expected, "99 processed, once, in order");
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].header("__dlq.errors.offset"), "41");
    assert_eq!(
        letters[0].header("__dlq.errors.delivery.count"),
        if class == ErrorClass::Transient {
            "6"
        } else {
            "1"
        }
    );
}

fn each(rig: &Rig, handler: Scripted) -> Running {
    start(rig, Each(handler))
}

fn unclear(rig: &Rig, handler: Scripted) -> Running {
    start(rig, Unclear(handler))
}

fn start(rig: &Rig, handler: impl BatchHandler) -> Running {
    rig.start_batch(handler, rig.pool().clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_permanent_failure_of_a_hundred() {
    hundred_with_one_bad("bad_each", ErrorClass::Permanent, each).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_transient_failure_of_a_hundred() {
    hundred_with_one_bad("bad_transient", ErrorClass::Transient, each).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_failure_of_a_hundred_that_the_handler_cannot_name() {
    hundred_with_one_bad("bad_unclear", ErrorClass::Transient, unclear).await;
}

/// Sends a record that makes the handler misbehave and one after it; returns the dead letter's code and the calls.
async fn misbehave(label: &str, act: fn() -> Act) -> (String, usize) {
    let mut rig = Rig::new(label, 1).await;
    rig.settings.handler_timeout = Duration::from_millis(300);
    rig.settings.retry.retries = 2;
    rig.note(0, "k", "first").await;
    rig.note(0, "k", "bad").await;
    rig.note(0, "k", "next").await;
    let handler = Scripted::new(move |delivery, _| {
        if text(delivery) == "bad" {
            act()
        } else {
            Act::Succeed
        }
    });
    let consumer = rig.start(&handler);
    rig.effect("next").await;
    let letters = rig.dead(1).await;
    consumer.stop().await;
    assert_eq!(rig.effects().await, ["first", "next"]);
    assert_eq!(letters[0].header("__dlq.errors.delivery.count"), "3");
    (letters[0].header("oncebox-error-code"), handler.calls())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_costs_the_record_an_attempt_not_the_process() {
    let (code, _) = misbehave("panic", || Act::Panic).await;
    assert_eq!(code, "handler.panicked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang_is_cut_and_counted() {
    let started = Instant::now();
    let (code, _) = misbehave("hang", || Act::Hang).await;
    assert_eq!(code, "handler.timed_out");
    assert!(
        started.elapsed() > Duration::from_millis(900),
        "three attempts of 300 ms"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swallowed_database_error_is_no_silent_loss() {
    let (code, _) = misbehave("swallow", || Act::Swallow).await;
    assert_eq!(code, "handler.broken_transaction");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_handler_that_panics_is_taken_apart() {
    let rig = Rig::new("panic_batch", 1).await;
    for n in 0..20 {
        rig.note(
            0,
            "k",
            &if n == 13 {
                "bad".to_owned()
            } else {
                format!("good-{n:02}")
            },
        )
        .await;
    }
    let handler = Scripted::new(|delivery, _| {
        if text(delivery) == "bad" {
            Act::Panic
        } else {
            Act::Succeed
        }
    });
    let consumer = unclear(&rig, handler);
    rig.effect("good-19").await;
    let letters = rig.dead(1).await;
    consumer.stop().await;
    assert_eq!(rig.effects().await.len(), 19);
    assert_eq!(letters[0].header("oncebox-error-code"), "handler.panicked");
}
