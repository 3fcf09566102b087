//! Guarantee G6: a failing record holds up its own key and no other, and is overtaken by none of its key.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oncebox::parking::Lane;
use oncebox::{ErrorClass, Headers, OnDeadLetter, RetryPolicy};
use testkit::eventually;

use crate::rig::{GROUP, LONG, Rig};
use crate::script::{Act, Scripted, text};

/// Fails records whose text begins with "bad" while `broken` says so.
fn bad_while(broken: &Arc<AtomicBool>, class: ErrorClass) -> Scripted {
    let broken = Arc::clone(broken);
    Scripted::new(move |delivery, _| {
        if text(delivery).starts_with("bad") && broken.load(Ordering::SeqCst) {
            Act::Fail(class)
        } else {
            Act::Succeed
        }
    })
}

fn patient() -> RetryPolicy {
    RetryPolicy {
        retries: 1_000,
        first_delay_ms: 50,
        max_delay_ms: 100,
        ..RetryPolicy::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_keys_flow_while_a_key_is_parked_and_it_returns_in_order() {
    let mut rig = Rig::new("parked", 1).await;
    rig.settings.retry = patient();
    let broken = Arc::new(AtomicBool::new(true));
    rig.note(0, "sick", "bad-00").await;
    for n in 1..40 {
        rig.note(
            0,
            if n % 4 == 0 { "sick" } else { "well" },
            &format!("note-{n:02}"),
        )
        .await;
    }
    let consumer = rig.start(&bad_while(&broken, ErrorClass::Transient));
    let effects = rig.effects_of(30).await;
    assert_eq!(
        effects.len(),
        30,
        "the other key's, and none of the sick one"
    );
    let keys = rig.parking().keys(10).await.unwrap();
    assert_eq!(keys.len(), 1);
    let key = &keys[0];
    assert_eq!(key.key.as_deref(), Some(&b"sick"[..]));
    assert_eq!((key.depth, key.place.lane), (10, Lane::of_key(b"sick")));
    assert_eq!(
        (key.place.topic.as_str(), key.place.partition),
        (&*rig.topic, 0)
    );
    let error = key.last_error.as_ref().unwrap();
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("test.refused", "refused bad-00")
    );
    assert!(key.attempts >= 2 && key.held_for.is_none() && key.first_failed_at.is_some());
    assert!(
        eventually("the offset", LONG, async || rig
            .committed(0)
            .await
            .filter(|at| *at == 40))
        .await
            == 40,
        "parked records are advanced past"
    );

    // Records that arrive while the key is parked, while it drains, and after it.
    for n in 40..60 {
        rig.note(0, "sick", &format!("note-{n:02}")).await;
        if n == 45 {
            broken.store(false, Ordering::SeqCst);
        }
    }
    rig.effects_of(60).await;
    rig.settled().await;
    rig.note(0, "sick", "last").await;
    rig.effect("last").await;
    consumer.stop().await;
    assert_eq!(rig.reordered().await, 0);
    assert_eq!(rig.effects().await.len(), 61, "none lost, none twice");
    assert!(rig.letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_come_and_go_all_the_time_keep_their_order() {
    let mut rig = Rig::new("flapping", 2).await;
    rig.settings.retry = patient();
    rig.settings.retry.first_delay_ms = 1;
    rig.settings.retry.max_delay_ms = 5;
    rig.settings.batch_max_records = 7;
    // Every third record fails until it has been tried from the parking.
    let tried: Arc<Mutex<Vec<String>>> = Arc::default();
    let handler = || {
        let tried = Arc::clone(&tried);
        Scripted::new(move |delivery, _| {
            let name = text(delivery).to_owned();
            let number: usize = name[5..].parse().unwrap();
            let mut tried = tried.lock().unwrap();
            tried.push(name.clone());
            let before = tried.iter().filter(|seen| **seen == name).count();
            if number.is_multiple_of(3) && before < 3 + number % 2 {
                Act::Fail(ErrorClass::Transient)
            } else {
                Act::Succeed
            }
        })
    };
    let consumer = rig.start(&handler());
    let mut others = Vec::new();
    for n in 0..900 {
        if n % 150 == 100 {
            others.push(rig.start(&handler()));
        }
        if n % 300 == 299
            && let Some(leaving) = others.pop()
        {
            leaving.stop().await;
        }
        rig.note(n % 2, &format!("key-{}", n % 10), &format!("note-{n:03}"))
            .await;
    }
    rig.effects_of(900).await;
    rig.settled().await;
    consumer.stop().await;
    for other in others {
        other.stop().await;
    }
    let effects = rig.effects().await;
    assert_eq!(
        effects.iter().collect::<HashSet<_>>().len(),
        900,
        "none lost"
    );
    assert_eq!(effects.len(), 900, "none twice");
    assert_eq!(rig.reordered().await, 0);
    assert!(rig.letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_records_survive_a_restart_with_key_headers_and_count() {
    let mut rig = Rig::new("park_restart", 1).await;
    rig.settings.retry = RetryPolicy {
        first_delay_ms: 60_000,
        max_delay_ms: 60_000,
        ..RetryPolicy::default()
    };
    let broken = Arc::new(AtomicBool::new(true));
    let id = rig.note(0, "k", "bad").await;
    rig.note(0, "k", "next").await;
    let consumer = rig.start(&bad_while(&broken, ErrorClass::Transient));
    let parked = eventually("the key to be parked", LONG, async || {
        let keys = rig.parking().keys(10).await.unwrap();
        keys.into_iter().next().filter(|key| key.depth == 2)
    })
    .await;
    consumer.stop().await;
    assert_eq!(parked.attempts, 2, "one at first, one at once");

    let handler = bad_while(&broken, ErrorClass::Transient);
    let consumer = rig.start(&handler);
    rig.note(0, "other", "passes").await;
    rig.effect("passes").await;
    rig.note(0, "k", "third").await;
    eventually("the third to be parked", LONG, async || {
        let keys = rig.parking().keys(10).await.unwrap();
        (keys[0].depth == 3).then_some(())
    })
    .await;
    assert_eq!(handler.calls(), 1, "the parked ones wait for their time");
    broken.store(false, Ordering::SeqCst);
    assert!(rig.parking().retry_now(&parked.place).await.unwrap());
    rig.effect("third").await;
    rig.settled().await;
    consumer.stop().await;
    assert_eq!(rig.effects().await, ["passes", "bad", "next", "third"]);
    assert_eq!(rig.status(id).await.as_deref(), Some("processed"));
    assert!(!rig.parking().retry_now(&parked.place).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_record_that_keeps_failing_is_a_dead_letter_and_the_key_goes_on() {
    let rig = Rig::new("park_dead", 1).await;
    rig.note(0, "k", "bad").await;
    rig.note(0, "k", "next").await;
    let always = Arc::new(AtomicBool::new(true));
    let handler = bad_while(&always, ErrorClass::Transient);
    let consumer = rig.start(&handler);
    let letters = rig.dead(1).await;
    rig.effect("next").await;
    rig.settled().await;
    consumer.stop().await;
    assert_eq!(letters[0].header("__dlq.errors.delivery.count"), "6");
    assert_eq!(letters[0].header("__dlq.errors.offset"), "0");
    assert_eq!(letters[0].key.as_deref(), Some(&b"k"[..]));
    assert_eq!(handler.calls(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_can_give_a_parked_record_up_and_only_that_one() {
    let mut rig = Rig::new("park_doom", 1).await;
    rig.settings.retry = RetryPolicy {
        first_delay_ms: 60_000,
        max_delay_ms: 60_000,
        ..RetryPolicy::default()
    };
    rig.note(0, "k", "bad-1").await;
    rig.note(0, "k", "next").await;
    let always = Arc::new(AtomicBool::new(true));
    let consumer = rig.start(&bad_while(&always, ErrorClass::Transient));
    let key = eventually("the key to be parked", LONG, async || {
        rig.parking()
            .keys(1)
            .await
            .unwrap()
            .pop()
            .filter(|key| key.depth == 2)
    })
    .await;
    assert!(rig.parking().dead_letter_now(&key.place).await.unwrap());
    let letters = rig.dead(1).await;
    rig.effect("next").await;
    rig.settled().await;
    consumer.stop().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].header("oncebox-error-code"), "parking.given_up");
    assert_eq!(letters[0].header("__dlq.errors.delivery.count"), "2");
    assert!(
        letters[0]
            .header("__dlq.errors.message")
            .contains("refused bad-1")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_key_waits_for_the_replay_or_for_an_operator() {
    let mut rig = Rig::new("park_hold", 1).await;
    rig.settings.on_dead_letter = OnDeadLetter::Hold;
    let broken = Arc::new(AtomicBool::new(true));
    let id = rig.note(0, "a", "bad-a").await;
    rig.note(0, "b", "bad-b").await;
    for key in ["a", "b", "c"] {
        rig.note(0, key, &format!("next-{key}")).await;
    }
    // Bytes that cannot be read hold their key as well.
    rig.sender
        .send(
            &rig.topic,
            Some(0),
            Some(b"d"),
            Some(b"garbage"),
            &Headers::new(),
        )
        .await;
    rig.note(0, "d", "next-d").await;
    let consumer = rig.start(&bad_while(&broken, ErrorClass::Permanent));
    rig.dead(3).await;
    rig.effect("next-c").await;
    let held = eventually("the held keys", LONG, async || {
        let keys = rig.parking().keys(10).await.unwrap();
        (keys
            .iter()
            .filter(|key| key.held_for.is_some() && key.depth == 1)
            .count()
            == 3)
            .then_some(keys)
    })
    .await;
    assert_eq!(rig.effects().await, ["next-c"]);

    // The replay of what it is held for releases one key, an operator the others.
    broken.store(false, Ordering::SeqCst);
    rig.note_as(&rig.replay_topic(), 0, id, "a", "bad-a").await;
    rig.effect("next-a").await;
    assert_eq!(rig.effects().await, ["next-c", "bad-a", "next-a"]);
    for key in held.iter().filter(|key| key.key.as_deref() != Some(b"a")) {
        assert!(rig.parking().release(&key.place).await.unwrap());
    }
    rig.effect("next-b").await;
    rig.effect("next-d").await;
    rig.settled().await;
    rig.note(0, "b", "later-b").await;
    rig.effect("later-b").await;
    consumer.stop().await;
    assert_eq!(rig.letters().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_parking_holds_the_partition_up_and_says_so() {
    let mut rig = Rig::new("park_full", 1).await;
    rig.settings.retry = patient();
    rig.settings.parked_limit = 10;
    rig.settings.batch_max_records = 5;
    let broken = Arc::new(AtomicBool::new(true));
    for n in 0..60 {
        rig.note(0, "sick", &format!("bad-{n:02}")).await;
    }
    rig.note(0, "well", "behind").await;
    let consumer = rig.start(&bad_while(&broken, ErrorClass::Transient));
    let problem = eventually("the alarm", LONG, async || {
        consumer
            .health
            .status()
            .outage
            .filter(|text| text.contains("which is the limit"))
    })
    .await;
    assert!(problem.contains(&rig.topic), "{problem}");
    let parked: i64 = sqlx::query_scalar("select count(*) from oncebox.parked where consumer = $1")
        .bind(GROUP)
        .fetch_one(rig.pool())
        .await
        .unwrap();
    assert!((10..=15).contains(&parked), "{parked}");
    assert!(rig.effects().await.is_empty());
    broken.store(false, Ordering::SeqCst);
    rig.effects_of(61).await;
    rig.settled().await;
    eventually("readiness", LONG, async || consumer.health.check().ok()).await;
    consumer.stop().await;
    assert_eq!(rig.reordered().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_record_that_hangs_holds_up_no_other_key() {
    let mut rig = Rig::new("park_hang", 1).await;
    rig.settings.handler_timeout = Duration::from_secs(4);
    rig.settings.retry.first_delay_ms = 1;
    let stuck: Arc<Mutex<u32>> = Arc::default();
    let seen = Arc::clone(&stuck);
    let handler = Scripted::new(move |delivery, _| {
        if text(delivery) != "bad" {
            return Act::Succeed;
        }
        let mut tries = seen.lock().unwrap();
        *tries += 1;
        if *tries > 2 {
            Act::Hang
        } else {
            Act::Fail(ErrorClass::Transient)
        }
    });
    rig.note(0, "sick", "bad").await;
    let consumer = rig.start(&handler);
    eventually("the hanging attempt", LONG, async || {
        (*stuck.lock().unwrap() > 2).then_some(())
    })
    .await;
    let begun = std::time::Instant::now();
    for n in 0..20 {
        rig.note(0, "well", &format!("note-{n}")).await;
    }
    rig.effect("note-19").await;
    let (took, tries) = (begun.elapsed(), *stuck.lock().unwrap());
    assert!(
        took < Duration::from_secs(4) || tries > 3,
        "waited for it: {took:?}"
    );
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_without_key_park_alone() {
    let mut rig = Rig::new("park_keyless", 1).await;
    rig.settings.retry = patient();
    let broken = Arc::new(AtomicBool::new(true));
    for name in ["bad-1", "good-2", "bad-3", "good-4"] {
        let value = rig.encode("k", name).await;
        let id = crate::rig::with_id(oncebox::EventId::new());
        rig.sender
            .send(&rig.topic, Some(0), None, Some(&value), &id)
            .await;
    }
    let consumer = rig.start(&bad_while(&broken, ErrorClass::Transient));
    assert_eq!(rig.effects_of(2).await, ["good-2", "good-4"]);
    let keys = eventually("both to be parked", LONG, async || {
        let keys = rig.parking().keys(10).await.unwrap();
        (keys.len() == 2).then_some(keys)
    })
    .await;
    assert!(keys.iter().all(|key| key.key.is_none() && key.depth == 1));
    broken.store(false, Ordering::SeqCst);
    rig.effects_of(4).await;
    rig.settled().await;
    consumer.stop().await;
}
