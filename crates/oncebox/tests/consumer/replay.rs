//! Guarantee G9: a replay happens once, and only a replay brings a dead event back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use oncebox::{ErrorClass, Headers};

use crate::rig::{GROUP, Rig};
use crate::script::{Act, Scripted, text};

fn refuse_while(broken: &Arc<AtomicBool>) -> Scripted {
    let broken = Arc::clone(broken);
    Scripted::new(move |delivery, _| {
        if text(delivery).starts_with("bad") && broken.load(Ordering::SeqCst) {
            Act::Fail(ErrorClass::Permanent)
        } else {
            Act::Succeed
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_revives_once_and_a_redelivery_never() {
    let mut rig = Rig::new("replay", 1).await;
    let broken = Arc::new(AtomicBool::new(true));
    let handler = refuse_while(&broken);
    let consumer = rig.start(&handler);
    let id = rig.note(0, "k", "bad").await;
    let first = rig.dead(1).await;

    // A replay before the cause is cleared fails again, and keeps the time of the first failure.
    let replays = rig.replay_topic();
    rig.note_as(&replays, 0, id, "k", "bad").await;
    let again = rig.dead(2).await;
    assert_eq!(
        again[1].topic, first[0].topic,
        "back to the same dead-letter topic"
    );
    assert_eq!(again[1].header("__dlq.errors.topic"), replays);
    assert_eq!(
        again[1].header("oncebox-first-failed-at"),
        first[0].header("oncebox-first-failed-at")
    );
    assert_eq!(rig.status(id).await.as_deref(), Some("dead"));

    // The cause is cleared, but the original record alone changes nothing.
    broken.store(false, Ordering::SeqCst);
    rig.note_as(&rig.topic, 0, id, "k", "bad").await;
    rig.note(0, "k", "marker-1").await;
    rig.effect("marker-1").await;
    assert_eq!(rig.effects().await, ["marker-1"]);

    // The replay does, once.
    for _ in 0..2 {
        rig.note_as(&replays, 0, id, "k", "bad").await;
    }
    rig.note_as(&replays, 0, oncebox::EventId::new(), "k", "marker-2")
        .await;
    rig.effect("marker-2").await;
    assert_eq!(rig.effects().await, ["marker-1", "bad", "marker-2"]);
    assert_eq!(rig.status(id).await.as_deref(), Some("processed"));
    consumer.stop().await;

    // And everything once more, from the beginning of both topics.
    rig.settings.kafka.insert(
        "group.id".into(),
        format!("{}again", rig.settings.topic_prefix),
    );
    let consumer = rig.start(&handler);
    rig.note(0, "k", "marker-3").await;
    rig.note_as(&replays, 0, oncebox::EventId::new(), "k", "marker-4")
        .await;
    rig.effect("marker-3").await;
    rig.effect("marker-4").await;
    consumer.stop().await;
    assert_eq!(
        rig.effects()
            .await
            .iter()
            .filter(|text| *text == "bad")
            .count(),
        1
    );
    assert_eq!(rig.letters().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_an_id_is_recognised_when_it_is_replayed_twice() {
    let rig = Rig::new("replay_no_id", 1).await;
    let broken = Arc::new(AtomicBool::new(true));
    let consumer = rig.start(&refuse_while(&broken));
    let value = rig.encode("k", "bad").await;
    rig.sender
        .send(
            &rig.topic,
            Some(0),
            Some(b"k"),
            Some(&value),
            &Headers::new(),
        )
        .await;
    let letter = rig.dead(1).await.remove(0);
    broken.store(false, Ordering::SeqCst);

    // As the replayer does: the letter's headers without those of the error.
    let mut headers = letter.headers();
    headers.retain(|name| !name.starts_with("__dlq.") && !name.starts_with("oncebox-error-"));
    for _ in 0..2 {
        rig.sender
            .send(
                &rig.replay_topic(),
                Some(0),
                Some(b"k"),
                letter.payload.as_deref(),
                &headers,
            )
            .await;
    }
    rig.note_as(
        &rig.replay_topic(),
        0,
        oncebox::EventId::new(),
        "k",
        "marker",
    )
    .await;
    rig.effect("marker").await;
    consumer.stop().await;
    assert_eq!(rig.effects().await, ["bad", "marker"]);
    let processed: i64 = sqlx::query_scalar(
        "select count(*) from oncebox.inbox where consumer = $1 and status = 'dead'",
    )
    .bind(GROUP)
    .fetch_one(rig.pool())
    .await
    .unwrap();
    assert_eq!(processed, 0, "the dead row is the one that was revived");
}
