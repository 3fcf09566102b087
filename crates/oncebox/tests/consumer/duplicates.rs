//! Guarantee G5: effects once per event, whatever is delivered again and in whatever batches.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use oncebox::{Delivery, Each, EventId, Failure, Handler};
use sqlx::PgConnection;

use crate::rig::{Note, Rig};
use crate::script::Scripted;

#[tokio::test(flavor = "multi_thread")]
async fn twice_and_again_in_other_batches_changes_nothing() {
    let mut rig = Rig::new("duplicates", 3).await;
    let ids: Vec<EventId> = (0..120).map(|_| EventId::new()).collect();
    // Each record twice in a row, so that both may be in one batch.
    for (n, id) in ids.iter().enumerate() {
        for _ in 0..2 {
            rig.note_as(&rig.topic, n as i32 % 3, *id, "k", &format!("note-{n}"))
                .await;
        }
    }
    let consumer = rig.start(&Scripted::succeed());
    for partition in 0..3 {
        rig.note(partition, "k", &format!("end-{partition}")).await;
        rig.effect(&format!("end-{partition}")).await;
    }
    consumer.stop().await;

    // Again, backwards, on other partitions, and handled in batches of seven.
    for (n, id) in ids.iter().enumerate().rev() {
        rig.note_as(
            &rig.topic,
            (n as i32 + 1) % 3,
            *id,
            "k",
            &format!("note-{n}"),
        )
        .await;
    }
    rig.settings.batch_max_records = 7;
    let consumer = rig.start(&Scripted::succeed());
    for partition in 0..3 {
        rig.note(partition, "k", &format!("last-{partition}")).await;
        rig.effect(&format!("last-{partition}")).await;
    }
    consumer.stop().await;

    let effects = rig.effects().await;
    let notes = effects
        .iter()
        .filter(|text| text.starts_with("note-"))
        .count();
    assert_eq!((notes, effects.len()), (120, 126));
    assert!(rig.letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_reads_everything_again_repeats_nothing() {
    let mut rig = Rig::new("reread", 1).await;
    for n in 0..50 {
        rig.note(0, "k", &format!("note-{n}")).await;
    }
    let consumer = rig.start(&Scripted::succeed());
    rig.effect("note-49").await;
    consumer.stop().await;

    // The same inbox, but the broker knows nothing of this group: as after lost offsets.
    rig.settings.kafka.insert(
        "group.id".into(),
        format!("{}other", rig.settings.topic_prefix),
    );
    let handler = Scripted::succeed();
    let consumer = rig.start(&handler);
    rig.note(0, "k", "end").await;
    rig.effect("end").await;
    consumer.stop().await;
    assert_eq!(
        handler.calls(),
        1,
        "only the new record reached the handler"
    );
    assert_eq!(rig.effects().await.len(), 51);
}

/// Notes what it was asked to prepare, as a handler that calls another system does.
struct Prepares(Arc<Mutex<Vec<EventId>>>);

#[async_trait]
impl Handler for Prepares {
    type Message = Note;

    async fn prepare(&self, delivery: &Delivery<Note>) -> Result<(), Failure> {
        self.0.lock().unwrap().push(delivery.event_id);
        Ok(())
    }

    async fn handle(
        &self,
        tx: &mut PgConnection,
        delivery: &Delivery<Note>,
    ) -> Result<(), Failure> {
        Scripted::succeed().handle(tx, delivery).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_systems_are_not_called_again_for_what_is_finished() {
    let rig = Rig::new("prepare", 1).await;
    let prepared = Arc::default();
    let consumer = rig.start_batch(Each(Prepares(Arc::clone(&prepared))), rig.pool().clone());
    let id = rig.note(0, "k", "once").await;
    rig.effect("once").await;
    rig.note_as(&rig.topic, 0, id, "k", "once").await;
    let end = rig.note(0, "k", "end").await;
    rig.effect("end").await;
    consumer.stop().await;
    assert_eq!(*prepared.lock().unwrap(), [id, end]);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_buffers_pause_and_go_on_without_loss() {
    let mut rig = Rig::new("backpressure", 2).await;
    rig.settings.batch_max_records = 5;
    rig.settings.batch_max_bytes = 2_000;
    for n in 0..600 {
        rig.note(n % 2, "k", &format!("note-{n:03}")).await;
    }
    let handler = Scripted::succeed();
    let consumer = rig.start(&handler);
    rig.effect("note-598").await;
    rig.effect("note-599").await;
    consumer.stop().await;
    assert_eq!((rig.effects().await.len(), handler.calls()), (600, 600));
    let unordered: i64 = sqlx::query_scalar(
        "select count(*) from (select record_offset, lag(record_offset) over (partition by partition order by at) as before
         from effects) as pairs where record_offset <= before",
    )
    .fetch_one(rig.pool())
    .await
    .unwrap();
    assert_eq!(unordered, 0, "each partition in order");
}
