//! Records of order-free types go their own way: a slow one holds up none, a failing one nobody else, and those that
//! need order keep it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use oncebox::{
    Codec, Consumer, ConsumerSettings, Delivery, Each, ErrorClass, EventId, Failure, Handler,
    OnDeadLetter,
};
use sqlx::PgConnection;
use testkit::eventually;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::rig::{GROUP, LONG, Note, Rig, Running};
use crate::script::{Act, Scripted, text};

/// Takes records whose text begins with "free" as of a type that needs no order.
#[derive(Clone)]
struct OrderFree(Scripted);

#[async_trait]
impl Handler for OrderFree {
    type Message = Note;

    fn order_free(&self, message: &Note) -> bool {
        let Note::Noted(noted) = message;
        noted.text.starts_with("free")
    }

    async fn handle(
        &self,
        tx: &mut PgConnection,
        delivery: &Delivery<Note>,
    ) -> Result<(), Failure> {
        self.0.handle(tx, delivery).await
    }
}

fn start(rig: &Rig, script: Scripted) -> Running {
    rig.start_batch(Each(OrderFree(script)), rig.pool().clone())
}

async fn inbox(rig: &Rig) -> i64 {
    sqlx::query_scalar("select count(*) from oncebox.inbox")
        .fetch_one(rig.pool())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_record_holds_up_neither_its_batch_nor_its_key_and_the_offset_waits_for_it() {
    let mut rig = Rig::new("slow", 1).await;
    rig.settings.batch_max_records = 20;
    let first = rig.note(0, "k", "free slow").await;
    for n in 0..99 {
        let text = if n % 3 == 0 {
            format!("note-{n:02}")
        } else {
            format!("free-{n:02}")
        };
        rig.note(0, "k", &text).await;
    }
    let consumer = start(
        &rig,
        Scripted::new(|delivery, _| {
            if text(delivery) == "free slow" {
                Act::Take(Duration::from_secs(3))
            } else {
                Act::Succeed
            }
        }),
    );
    let began = eventually("the first effect", LONG, async || {
        (!rig.effects().await.is_empty()).then(Instant::now)
    })
    .await;
    let others = rig.effects_of(99).await;
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    assert!(!others.contains(&"free slow".to_owned()));
    assert_eq!(
        rig.committed(0).await.unwrap_or(0),
        0,
        "the slow one is the first"
    );
    rig.effect("free slow").await;
    eventually("all to be committed", LONG, async || {
        (rig.committed(0).await == Some(100)).then_some(())
    })
    .await;
    consumer.stop().await;
    let effects = rig.effects().await;
    let ordered: Vec<&String> = effects
        .iter()
        .filter(|text| text.starts_with("note"))
        .collect();
    assert!(ordered.is_sorted() && ordered.len() == 33, "{ordered:?}");
    assert_eq!((effects.len(), inbox(&rig).await), (100, 100));
    assert_eq!(rig.status(first).await.as_deref(), Some("processed"));
}

/// Counts how many of its records are handled at once, and lets them go when it is told to.
#[derive(Clone, Default)]
struct Crowd {
    here: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    go: Arc<Notify>,
}

#[async_trait]
impl Handler for Crowd {
    type Message = Note;

    fn order_free(&self, _: &Note) -> bool {
        true
    }

    async fn prepare(&self, _: &Delivery<Note>) -> Result<(), Failure> {
        let here = self.here.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(here, Ordering::SeqCst);
        self.go.notified().await;
        self.here.fetch_sub(1, Ordering::SeqCst);
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
async fn no_more_go_at_once_than_the_setting_says_and_two_copies_have_one_effect() {
    let mut rig = Rig::new("crowd", 1).await;
    rig.settings.order_free_at_once = 3;
    // Copies in different batches are under way at once, and a batch may be one too many.
    rig.settings.batch_max_records = 2;
    let twin = EventId::new();
    for n in 0..20 {
        if n < 3 {
            rig.note_as(&rig.topic, 0, twin, "k", "twin").await;
        }
        rig.note(0, "k", &format!("note-{n}")).await;
    }
    let crowd = Crowd::default();
    let consumer = rig.start_batch(Each(crowd.clone()), rig.pool().clone());
    eventually("three at once", LONG, async || {
        (crowd.here.load(Ordering::SeqCst) == 3).then_some(())
    })
    .await;
    eventually("all to be handled", LONG, async || {
        crowd.go.notify_waiters();
        (rig.committed(0).await == Some(23)).then_some(())
    })
    .await;
    consumer.stop().await;
    assert_eq!(crowd.most.load(Ordering::SeqCst), 3);
    assert_eq!(rig.effects().await.len(), 21);
    assert_eq!(
        rig.effects()
            .await
            .iter()
            .filter(|text| *text == "twin")
            .count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_is_parked_or_dead_lettered_alone_and_holds_nothing() {
    let mut rig = Rig::new("alone", 1).await;
    rig.settings.on_dead_letter = OnDeadLetter::Hold;
    let retried = rig.note(0, "k", "free again").await;
    let parked = rig.note(0, "k", "free bad").await;
    let dead = rig.note(0, "k", "free dead").await;
    rig.note(0, "k", "note").await;
    rig.note(0, "k", "free good").await;
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let consumer = start(
        &rig,
        Scripted::new(move |delivery, _| match text(delivery) {
            "free again" if counted.fetch_add(1, Ordering::SeqCst) < 3 => {
                Act::Fail(ErrorClass::Transient)
            }
            "free bad" => Act::Fail(ErrorClass::Transient),
            "free dead" => Act::Fail(ErrorClass::Permanent),
            _ => Act::Succeed,
        }),
    );
    for wanted in ["note", "free good", "free again"] {
        rig.effect(wanted).await;
    }
    let letters = rig.dead(2).await;
    rig.settled().await;
    assert_eq!(rig.committed(0).await.unwrap_or_default(), 5);
    consumer.stop().await;
    assert_eq!(rig.effects().await.len(), 3);
    assert_eq!(tries.load(Ordering::SeqCst), 4);
    let counts: Vec<(String, String)> = letters
        .iter()
        .map(|letter| {
            (
                letter.header("ce_id"),
                letter.header("__dlq.errors.delivery.count"),
            )
        })
        .collect();
    let expected = [
        (dead.to_string(), "1".to_owned()),
        (parked.to_string(), "6".to_owned()),
    ];
    assert_eq!(counts, expected);
    assert_eq!(rig.status(retried).await.as_deref(), Some("processed"));
}

const DATABASE: &str = "ORDER_FREE_DATABASE";
const PREFIX: &str = "ORDER_FREE_PREFIX";

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_it_loses_nothing_and_doubles_nothing() {
    let mut rig = Rig::new("killed", 1).await;
    for n in 0..60 {
        let text = match n % 3 {
            0 => format!("note-{n:02}"),
            _ => format!("free-{n:02}"),
        };
        rig.note(0, &format!("k{}", n % 2), &text).await;
    }
    for round in 1..=3 {
        let mut other = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["order_free::the_killed_process", "--exact", "--ignored"])
            .env(DATABASE, rig.database.url())
            .env(PREFIX, &rig.settings.topic_prefix)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let before = rig.effects().await.len();
        eventually("some effects of the process", LONG, async || {
            (rig.effects().await.len() > before + 5).then_some(())
        })
        .await;
        // SIGKILL, with several transactions open.
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(
            rig.effects().await.len() < 60,
            "round {round} came too late"
        );
    }
    rig.settings.batch_max_records = 10;
    let consumer = start(&rig, Scripted::succeed());
    eventually("all to be committed", LONG, async || {
        (rig.committed(0).await == Some(60)).then_some(())
    })
    .await;
    consumer.stop().await;
    let mut effects = rig.effects().await;
    let ordered: Vec<&String> = effects
        .iter()
        .filter(|text| text.starts_with("note"))
        .collect();
    assert!(ordered.is_sorted(), "{ordered:?}");
    effects.sort();
    effects.dedup();
    assert_eq!(
        (effects.len(), rig.effects().await.len(), inbox(&rig).await),
        (60, 60, 60)
    );
    assert!(rig.letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the process that a test of this room kills"]
async fn the_killed_process() {
    let (Ok(database), Ok(prefix)) = (std::env::var(DATABASE), std::env::var(PREFIX)) else {
        return;
    };
    let pool = sqlx::PgPool::connect(&database).await.unwrap();
    let mut settings = ConsumerSettings::new(testkit::kafka_address(), GROUP, ["notes"]);
    settings.topic_prefix = prefix;
    settings.batch_max_records = 10;
    settings.order_free_at_once = 4;
    settings
        .kafka
        .insert("session.timeout.ms".into(), "6000".into());
    let codec = Codec::new(&testkit::registry_address(), None).unwrap();
    let slow = Scripted::new(|delivery, call| {
        Act::Take(match text(delivery) {
            // It never ends here: whoever passes it by loses it.
            "free-01" => LONG,
            _ => Duration::from_millis(60 + (call % 5) as u64 * 40),
        })
    });
    let consumer = Consumer::new(settings, pool, codec, "1", Each(OrderFree(slow)));
    consumer.run(CancellationToken::new()).await.unwrap();
}
