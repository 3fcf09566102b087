//! Shutdown: the batch in hand is finished or abandoned within the deadline, never left half done.

use std::time::{Duration, Instant};

use testkit::eventually;

use crate::rig::{LONG, Rig};
use crate::script::{Act, Scripted, text};

async fn called(handler: &Scripted) {
    eventually("the handler to be called", LONG, async || {
        (handler.calls() > 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_in_hand_is_finished_and_its_offsets_are_committed() {
    let rig = Rig::new("finish", 1).await;
    rig.note(0, "k", "slow").await;
    let slow = Scripted::new(|_, _| Act::Take(Duration::from_millis(600)));
    let consumer = rig.start(&slow);
    called(&slow).await;
    consumer.stop().await;
    assert_eq!(rig.effects().await, ["slow"]);

    assert_eq!(
        rig.committed(0).await,
        Some(1),
        "offsets follow before the group is left"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_does_not_end_is_abandoned_whole_and_comes_again() {
    let mut rig = Rig::new("abandon", 1).await;
    rig.settings.shutdown_deadline = Duration::from_millis(500);
    for n in 0..5 {
        rig.note(0, "k", &format!("note-{n}")).await;
    }
    let stuck = Scripted::new(|delivery, _| {
        if text(delivery) == "note-3" {
            Act::Hang
        } else {
            Act::Succeed
        }
    });
    let consumer = rig.start(&stuck);
    eventually("the hanging record", LONG, async || {
        (stuck.calls() >= 4).then_some(())
    })
    .await;
    let started = Instant::now();
    consumer.stop().await;
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "took {:?}",
        started.elapsed()
    );
    let before = rig.effects().await;
    assert!(!before.contains(&"note-3".to_owned()), "{before:?}");
    assert!(
        rig.attempts().await.is_empty(),
        "an abandoned batch is nobody's failure"
    );

    let consumer = rig.start(&Scripted::succeed());
    rig.effect("note-4").await;
    consumer.stop().await;
    let expected: Vec<String> = (0..5).map(|n| format!("note-{n}")).collect();
    assert_eq!(rig.effects().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_while_a_record_waits_for_its_retry_is_prompt() {
    let mut rig = Rig::new("waiting", 1).await;
    rig.settings.retry.first_delay_ms = 60_000;
    rig.settings.retry.max_delay_ms = 60_000;
    rig.note(0, "k", "bad").await;
    let handler = Scripted::new(|_, _| Act::Fail(oncebox::ErrorClass::Transient));
    let consumer = rig.start(&handler);
    eventually("two counted attempts", LONG, async || {
        (rig.attempts().await == [2]).then_some(())
    })
    .await;
    let started = Instant::now();
    consumer.stop().await;
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "took {:?}",
        started.elapsed()
    );
    assert_eq!(rig.attempts().await, [2]);
}
