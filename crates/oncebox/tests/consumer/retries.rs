//! Attempts are counted in the database, by topic, partition and offset.

use oncebox::ErrorClass;
use testkit::eventually;

use crate::rig::{LONG, Rig};
use crate::script::{Act, Scripted, text};

fn refuse_bad(class: ErrorClass) -> Scripted {
    Scripted::new(move |delivery, _| {
        if text(delivery).starts_with("bad") {
            Act::Fail(class)
        } else {
            Act::Succeed
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transient_failure_gets_exactly_its_attempts_also_across_a_restart() {
    let mut rig = Rig::new("restart", 1).await;
    rig.settings.retry.first_delay_ms = 150;
    rig.settings.retry.max_delay_ms = 300;
    let id = rig.note(0, "k", "bad").await;
    rig.note(0, "k", "next").await;

    let first = refuse_bad(ErrorClass::Transient);
    let consumer = rig.start(&first);
    eventually("two counted attempts", LONG, async || {
        (rig.attempts().await == [2]).then_some(())
    })
    .await;
    consumer.stop().await;
    let counted = rig.attempts().await;
    assert!(
        rig.letters().await.is_empty() && rig.effects().await.is_empty(),
        "nothing overtakes the failing record"
    );

    let second = refuse_bad(ErrorClass::Transient);
    let consumer = rig.start(&second);
    let letters = rig.dead(1).await;
    rig.effect("next").await;
    consumer.stop().await;

    assert_eq!(letters[0].header("__dlq.errors.delivery.count"), "6");
    assert_eq!(letters[0].header("oncebox-error-class"), "transient");
    assert_eq!(letters[0].header("id"), id.to_string());
    assert_ne!(
        letters[0].event_id,
        id.as_uuid(),
        "the row's identity is its own"
    );
    assert!(
        letters[0].header("oncebox-first-failed-at") < letters[0].header("oncebox-last-failed-at")
    );
    let calls_for_bad = first.calls() + second.calls() - 1;
    assert_eq!(calls_for_bad, 6, "{counted:?} before the restart");
    assert_eq!(rig.status(id).await.as_deref(), Some("dead"));
    assert!(
        rig.attempts().await.is_empty(),
        "the count is forgotten with the dead letter"
    );
    assert_eq!(
        rig.effects().await,
        ["next"],
        "a failed attempt leaves nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn success_of_another_partition_does_not_touch_the_count() {
    let rig = Rig::new("partitions", 2).await;
    rig.note(0, "a", "bad").await;
    let handler = refuse_bad(ErrorClass::Transient);
    let consumer = rig.start(&handler);
    let mut sent = 0;
    let letters = eventually("the dead letter", LONG, async || {
        rig.note(1, "b", &format!("good-{sent}")).await;
        rig.effect(&format!("good-{sent}")).await;
        sent += 1;
        let letters = rig.letters().await;
        (!letters.is_empty()).then_some(letters)
    })
    .await;
    consumer.stop().await;
    assert!(sent > 1, "successes went on meanwhile");
    assert_eq!(letters[0].header("__dlq.errors.delivery.count"), "6");
    assert_eq!(handler.calls(), 6 + sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permanent_failure_gets_one_attempt() {
    let rig = Rig::new("permanent", 1).await;
    rig.note(0, "k", "bad").await;
    let handler = refuse_bad(ErrorClass::Permanent);
    let consumer = rig.start(&handler);
    let letters = rig.dead(1).await;
    consumer.stop().await;
    assert_eq!(letters[0].header("__dlq.errors.delivery.count"), "1");
    assert_eq!(letters[0].header("oncebox-error-code"), "test.refused");
    assert_eq!(letters[0].header("__dlq.errors.message"), "refused bad");
    assert!(
        letters[0]
            .header("oncebox-error-site")
            .contains("script.rs:")
    );
    assert_eq!(handler.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_passes_is_no_dead_letter() {
    let rig = Rig::new("passes", 1).await;
    rig.note(0, "k", "bad at first").await;
    rig.note(0, "k", "next").await;
    let handler = Scripted::new(|delivery, call| {
        if text(delivery).starts_with("bad") && call < 3 {
            Act::Fail(ErrorClass::Transient)
        } else {
            Act::Succeed
        }
    });
    let consumer = rig.start(&handler);
    rig.effect("next").await;
    consumer.stop().await;
    assert_eq!(rig.effects().await, ["bad at first", "next"]);
    assert!(rig.letters().await.is_empty() && rig.attempts().await.is_empty());
}
