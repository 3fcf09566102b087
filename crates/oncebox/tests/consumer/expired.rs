//! Events older than what the inbox remembers: a backlog is handled, what was finished is not repeated, and what nobody
//! knows of is kept as a dead letter until somebody decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Duration, Utc};
use oncebox::{ErrorClass, EventId, Headers};
use testkit::eventually;
use uuid::Uuid;

use crate::rig::{GROUP, LONG, Rig, with_id};
use crate::script::{Act, Scripted, text};

fn made(days_ago: i64) -> EventId {
    let at = Utc::now() - Duration::days(days_ago);
    let millis = u64::try_from(at.timestamp_millis()).unwrap();
    let mut random = [0; 10];
    random.copy_from_slice(&Uuid::new_v4().as_bytes()[6..]);
    EventId::from_uuid(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
}

impl Rig {
    /// A note as it was published at that time.
    async fn published(&self, at: DateTime<Utc>, headers: &Headers, note: &str) {
        let value = self.encode("k", note).await;
        self.sender
            .send_at(
                &self.topic,
                Some(0),
                Some(b"k"),
                Some(&value),
                headers,
                at.timestamp_millis(),
            )
            .await;
    }

    /// The inbox forgets what was handled more than 14 days ago; what it holds now was handled 20 days ago.
    async fn forget(&self) {
        sqlx::raw_sql(
            "update oncebox.inbox set handled_at = handled_at - interval '20 days';
             update oncebox.inbox_refused set refused_at = refused_at - interval '20 days'",
        )
        .execute(self.pool())
        .await
        .unwrap();
        let retention = std::time::Duration::from_secs(14 * 24 * 3600);
        oncebox::retention::keep_inbox(self.pool(), retention)
            .await
            .unwrap();
        sqlx::query(
            "update oncebox.inbox_memory set forgotten_before = now() - interval '14 days'",
        )
        .execute(self.pool())
        .await
        .unwrap();
    }

    async fn rows(&self) -> i64 {
        sqlx::query_scalar("select count(*) from oncebox.inbox")
            .fetch_one(self.pool())
            .await
            .unwrap()
    }
}

/// An outage of twenty days, and then all of it once more from the beginning, when all rows are forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_backlog_is_handled_and_never_twice() {
    let mut rig = Rig::new("old_backlog", 1).await;
    rig.forget().await;
    let old = Utc::now() - Duration::days(20);
    for n in 0..5 {
        let id = with_id(made(20));
        rig.published(old, &id, &format!("old-{n}")).await;
    }
    // A foreign producer's: no UUID at all, and one of another version.
    let mut foreign = Headers::new();
    foreign.push("ce_id", "no-uuid-17");
    foreign.push("ce_source", "/elsewhere");
    rig.published(old, &foreign, "foreign-text").await;
    rig.published(
        old,
        &with_id(EventId::from_uuid(Uuid::new_v4())),
        "foreign-v4",
    )
    .await;
    let consumer = rig.start(&Scripted::succeed());
    assert_eq!(rig.effects_of(7).await.len(), 7);
    consumer.stop().await;
    let position: i64 =
        sqlx::query_scalar(r#"select "offset" from oncebox.inbox_positions where topic = $1"#)
            .bind(&rig.topic)
            .fetch_one(rig.pool())
            .await
            .unwrap();
    assert_eq!(position, 7, "noted when the consumer ended");
    rig.forget().await;
    assert_eq!(rig.rows().await, 0, "all is forgotten");

    rig.settings.kafka.insert(
        "group.id".into(),
        format!("{}again", rig.settings.topic_prefix),
    );
    rig.published(old, &with_id(made(20)), "reached only now")
        .await;
    let consumer = rig.start(&Scripted::succeed());
    rig.effect("reached only now").await;
    consumer.stop().await;
    assert_eq!(rig.effects().await.len(), 8);
    assert!(rig.letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_event_published_late_is_refused_unless_it_was_delayed() {
    let rig = Rig::new("old_late", 1).await;
    rig.forget().await;
    let (late, delayed) = (made(20), made(20));
    let mut headers = with_id(delayed);
    headers.push("oncebox-not-before", Utc::now().to_rfc3339());
    let consumer = rig.start(&Scripted::succeed());
    rig.published(Utc::now(), &with_id(late), "late").await;
    rig.published(Utc::now(), &headers, "delayed").await;
    rig.effect("delayed").await;
    let letter = rig.dead(1).await.remove(0);
    assert_eq!(letter.header("oncebox-error-code"), "inbox.expired");
    assert_eq!(letter.header("oncebox-error-class"), "permanent");
    assert!(
        letter
            .header("__dlq.errors.message")
            .contains("may have been handled already"),
    );
    assert_eq!(rig.status(late).await.as_deref(), Some("dead"));
    // Delivered once more, it is one dead letter.
    rig.published(Utc::now(), &with_id(late), "late").await;
    rig.note(0, "k", "marker").await;
    rig.effect("marker").await;
    consumer.stop().await;
    assert_eq!(rig.effects().await, ["delayed", "marker"]);
    assert_eq!(rig.letters().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_a_forgotten_event_is_refused_until_it_is_forced() {
    let rig = Rig::new("old_replay", 1).await;
    let broken = Arc::new(AtomicBool::new(true));
    let failing = Arc::clone(&broken);
    let handler = Scripted::new(move |delivery, _| {
        if text(delivery) == "bad" && failing.load(Ordering::SeqCst) {
            Act::Fail(ErrorClass::Permanent)
        } else {
            Act::Succeed
        }
    });
    let consumer = rig.start(&handler);
    let (known, forgotten) = (made(20), made(20));
    rig.published(Utc::now(), &with_id(forgotten), "bad").await;
    rig.dead(1).await;
    rig.forget().await;
    assert_eq!(rig.status(forgotten).await, None);
    broken.store(false, Ordering::SeqCst);

    // Twice: the dead letter that the first leaves is no proof for the second.
    let replays = rig.replay_topic();
    for letters in [2, 3] {
        rig.note_as(&replays, 0, forgotten, "k", "bad").await;
        let letter = rig.dead(letters).await.pop().unwrap();
        assert_eq!(letter.header("oncebox-error-code"), "inbox.expired");
    }
    assert!(rig.effects().await.is_empty());

    // One that is known to be dead goes through without force, however old.
    sqlx::query("insert into oncebox.inbox (consumer, event_id, status) values ($1, $2, 'dead')")
        .bind(GROUP)
        .bind(known.as_uuid())
        .execute(rig.pool())
        .await
        .unwrap();
    rig.note_as(&replays, 0, known, "k", "known").await;
    rig.effect("known").await;

    let mut forced = with_id(forgotten);
    forced.push("oncebox-replay-forced", "true");
    let value = rig.encode("k", "bad").await;
    for _ in 0..2 {
        rig.sender
            .send(&replays, Some(0), Some(b"k"), Some(&value), &forced)
            .await;
    }
    rig.effect("bad").await;
    rig.note_as(&replays, 0, EventId::new(), "k", "marker")
        .await;
    rig.effect("marker").await;
    consumer.stop().await;
    assert_eq!(rig.effects().await, ["known", "bad", "marker"]);
    assert_eq!(rig.letters().await.len(), 3);
    assert_eq!(rig.status(forgotten).await.as_deref(), Some("processed"));
}

/// The consumer sees to its inbox by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_keeps_its_inbox() {
    let rig = Rig::new("inbox_kept", 1).await;
    sqlx::query(
        "insert into oncebox.inbox (consumer, event_id, status, handled_at)
         select 'other', gen_random_uuid(), 'processed', now() - interval '15 days' from generate_series(1, 100)",
    )
    .execute(rig.pool())
    .await
    .unwrap();
    // Another consumer of the database wants them for longer.
    sqlx::query("insert into oncebox.inbox_consumers values ('other', interval '16 days')")
        .execute(rig.pool())
        .await
        .unwrap();
    let attended = "select attended_at > now() - interval '1 minute' from oncebox.inbox_memory";
    let consumer = rig.start(&Scripted::succeed());
    eventually("the inbox attended to", LONG, async || {
        let attended: bool = sqlx::query_scalar(attended)
            .fetch_one(rig.pool())
            .await
            .unwrap();
        attended.then_some(())
    })
    .await;
    rig.note(0, "k", "marker").await;
    rig.effect("marker").await;
    consumer.stop().await;
    assert_eq!(rig.rows().await, 101);

    // It is content with less now, and nobody has seen to it for an hour.
    sqlx::raw_sql(
        "update oncebox.inbox_consumers set retention = interval '2 days';
         update oncebox.inbox_memory set attended_at = now() - interval '1 hour'",
    )
    .execute(rig.pool())
    .await
    .unwrap();
    let consumer = rig.start(&Scripted::succeed());
    eventually("old rows forgotten", LONG, async || {
        (rig.rows().await == 1).then_some(())
    })
    .await;
    consumer.stop().await;
}
