//! Guarantee G8 where nobody says that it is an outage: it shows in the failures, and becomes no flood of dead letters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use oncebox::{Each, ErrorClass, FloodPolicy, Headers};
use testkit::eventually;

use crate::provider::{Charges, Provider};
use crate::rig::{GROUP, LONG, Rig};
use crate::script::{Act, Scripted, text};

/// Orders a second.
const RATE: usize = 200;
/// The outage of two minutes, scaled to 1 : 6. A record's six attempts are over in a third of a second here, so each
/// would be used up some 60 times. `FLOOD_OUTAGE_S=120` runs it in full.
const OUTAGE_S: u64 = 20;

fn outage() -> Duration {
    let seconds = std::env::var("FLOOD_OUTAGE_S").ok();
    Duration::from_secs(seconds.map_or(OUTAGE_S, |seconds| seconds.parse().unwrap()))
}

/// Sends orders at the rate until `enough`; each is a key of its own. Returns how many.
async fn orders(rig: &Rig, first: usize, mut enough: impl FnMut(usize, Duration) -> bool) -> usize {
    let (began, mut sent) = (Instant::now(), 0);
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while !enough(sent, began.elapsed()) {
        tick.tick().await;
        let due = (began.elapsed().as_millis() as usize * RATE / 1_000).saturating_sub(sent);
        let batch = (first + sent..first + sent + due).map(|n| async move {
            let name = format!("order-{n:06}");
            rig.note(n as i32 % 4, &name, &name).await
        });
        join_all(batch).await;
        sent += due;
    }
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_answers_500_dead_letters_nothing_but_what_is_bad() {
    let metrics = telemetry::init("consumer", "1", telemetry::LogFormat::Auto, "off").unwrap();
    let mut rig = Rig::new("flood", 4).await;
    rig.settings.flood = FloodPolicy::default();
    let provider = Provider::start().await;
    let consumer = rig.start_batch(Each(Charges::new(&provider)), rig.pool().clone());
    let healthy = orders(&rig, 0, |sent, _| sent >= RATE).await;
    rig.effects_of(healthy).await;

    provider.set_broken(true);
    // Bytes that nobody can read, and an order that can never be charged, in the stream that begins to fail.
    let key = Some(&b"poison"[..]);
    let none = Headers::new();
    rig.sender
        .send(&rig.topic, Some(0), key, Some(b"garbage"), &none)
        .await;
    rig.note(1, "invalid", "invalid order").await;
    let (outage, broke) = (outage(), Instant::now());
    let dead = async {
        let letters = rig.dead(2).await;
        (letters, broke.elapsed())
    };
    let sending = orders(&rig, healthy, |_, time| time >= outage);
    let ((letters, dead_after), failing) = tokio::join!(dead, sending);
    assert!(dead_after < Duration::from_secs(5), "{dead_after:?}");
    let rate = failing as f64 / outage.as_secs_f64();
    println!(
        "{failing} orders in {outage:?} ({rate:.0}/s) of 500s, of which {} reached consumers",
        provider.refused()
    );
    assert!(rate > 0.95 * RATE as f64, "{rate:.0} orders a second");
    assert_eq!(rig.letters().await.len(), 2, "nothing but what is bad");
    let status = consumer.health.status();
    let problem = status.outage.expect("readiness says why");
    assert!(
        problem.contains("flood guard") && problem.contains("test.provider"),
        "{problem}"
    );
    assert!(status.last_poll_age.unwrap() < Duration::from_secs(5));
    assert_eq!(status.assigned_partitions, 8, "topic and replay topic");
    // Per partition: the failures that close it and those that the last second's successes speak for, twice each at most,
    // then a probe at a time.
    let closing = 20 + RATE / 4 / 4;
    let probes = 4 * (2 * closing + 10 + outage.as_secs() as usize);
    assert!(provider.refused() < probes, "{}", provider.refused());
    let closed = format!(
        "oncebox_consumer_flood_guard_closed{{group=\"{GROUP}\",topic=\"{}\",partition=\"0\"}}",
        rig.topic
    );
    assert!(metrics.render().contains(&format!("{closed} 1")));

    provider.set_broken(false);
    // As long again as the outage at least: a slow machine works through the backlog at little more than the rate.
    eventually("all orders", LONG * 2 + outage * 4, async || {
        let done: i64 = sqlx::query_scalar("select count(*) from effects")
            .fetch_one(rig.pool())
            .await
            .unwrap();
        (done as usize >= healthy + failing).then_some(())
    })
    .await;
    rig.settled().await;
    eventually("readiness", LONG, async || consumer.health.check().ok()).await;
    assert!(metrics.render().contains(&format!("{closed} 0")));
    consumer.stop().await;
    let mut effects = rig.effects().await;
    effects.sort();
    let expected: Vec<String> = (0..healthy + failing)
        .map(|n| format!("order-{n:06}"))
        .collect();
    assert_eq!(effects, expected, "each once");
    assert_eq!(rig.letters().await.len(), 2);
    let mut codes: Vec<String> = letters
        .iter()
        .map(|letter| letter.header("oncebox-error-code"))
        .collect();
    codes.sort();
    assert_eq!(codes, ["decode.not_framed", "test.invalid_order"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_need_no_order_are_guarded_as_well() {
    let mut rig = Rig::new("flood_free", 4).await;
    rig.settings.flood = FloodPolicy::default();
    let provider = Provider::start().await;
    let handler = Each(Charges::order_free(&provider));
    let consumer = rig.start_batch(handler, rig.pool().clone());
    let healthy = orders(&rig, 0, |sent, _| sent >= RATE).await;
    rig.effects_of(healthy).await;
    provider.set_broken(true);
    let failing = orders(&rig, healthy, |_, time| time >= Duration::from_secs(5)).await;
    assert!(rig.letters().await.is_empty());
    let problem = consumer.health.status().outage.expect("closed");
    assert!(problem.contains("flood guard"), "{problem}");
    println!("{failing} orders, {} refused", provider.refused());
    // Per partition: five that close it, eight that are under way, then a probe at a time, later and later.
    assert!(provider.refused() < 4 * 25, "{}", provider.refused());
    provider.set_broken(false);
    rig.effects_of(healthy + failing).await;
    rig.settled().await;
    consumer.stop().await;
    assert_eq!(rig.effects().await.len(), healthy + failing, "each once");
    assert!(rig.letters().await.is_empty());
}

/// Fails everything for good while `broken`.
fn refuse_while(broken: &Arc<AtomicBool>, class: ErrorClass) -> Scripted {
    let broken = Arc::clone(broken);
    Scripted::new(move |delivery, _| {
        if broken.load(Ordering::SeqCst) && !text(delivery).starts_with("good") {
            Act::Fail(class)
        } else {
            Act::Succeed
        }
    })
}

async fn kept(rig: &Rig) -> Option<(i64, i64, Option<String>)> {
    sqlx::query_as("select successes, spent, closed_for from oncebox.flood_guard where topic = $1")
        .bind(&rig.topic)
        .fetch_optional(rig.pool())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_refuses_everything_is_stopped_and_a_restart_refills_nothing() {
    let mut rig = Rig::new("flood_all", 1).await;
    rig.settings.flood = FloodPolicy::default();
    let broken = Arc::new(AtomicBool::new(true));
    let handler = refuse_while(&broken, ErrorClass::Permanent);
    let consumer = rig.start(&handler);
    rig.note(0, "first", "first").await;
    rig.dead(1).await;
    // Spent in the transaction of the letter: where that is seen, this is.
    assert_eq!(kept(&rig).await, Some((0, 1, None)));
    broken.store(false, Ordering::SeqCst);
    for n in 0..40 {
        rig.note(0, &format!("good-{n}"), &format!("good-{n}"))
            .await;
    }
    rig.effect("good-39").await;
    broken.store(true, Ordering::SeqCst);
    for n in 0..200 {
        rig.note(0, &format!("order-{n}"), &format!("order-{n}"))
            .await;
    }
    rig.dead(3).await;
    let problem = eventually("the guard to close", LONG, async || {
        consumer.health.status().outage
    })
    .await;
    assert!(problem.contains("test.refused"), "{problem}");
    // Parked are those that closed it and probes, a few a second; the topic stays where it is.
    eventually("a probe that is parked", LONG, async || {
        (rig.parking().keys(100).await.unwrap().len() > 5).then_some(())
    })
    .await;
    consumer.stop().await;
    assert_eq!(rig.letters().await.len(), 3, "1 free, 40 successes earn 2");
    assert_eq!(kept(&rig).await, Some((40, 3, Some("test.refused".into()))));

    // Three more owners, each of which tries a record at most until it is told to end.
    for _ in 0..3 {
        let calls = handler.calls();
        let consumer = rig.start(&handler);
        eventually("a probe", LONG, async || {
            (handler.calls() > calls).then_some(())
        })
        .await;
        assert!(consumer.health.status().outage.is_some());
        consumer.stop().await;
    }
    assert_eq!(rig.letters().await.len(), 3, "no slot came from nowhere");

    // The release is taken back: all goes on as if nothing had been.
    broken.store(false, Ordering::SeqCst);
    let consumer = rig.start(&handler);
    rig.effects_of(40 + 200 - 2).await;
    rig.settled().await;
    consumer.stop().await;
    assert_eq!(rig.letters().await.len(), 3);
    assert_eq!(kept(&rig).await.unwrap().2, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_key_that_finds_no_slot_waits_for_one_and_holds_up_nothing() {
    let mut rig = Rig::new("flood_slots", 1).await;
    rig.settings.flood = FloodPolicy::default();
    let broken = Arc::new(AtomicBool::new(true));
    let consumer = rig.start(&refuse_while(&broken, ErrorClass::Transient));
    for name in ["bad-1", "bad-2", "bad-3"] {
        rig.note(0, name, name).await;
    }
    // The first may have used up its attempts before the others came; without a success no other is given up.
    let dead = eventually("all to have used up their attempts", LONG, async || {
        let keys = rig.parking().keys(10).await.unwrap();
        let used_up = keys.iter().filter(|key| key.attempts == 5).count();
        let dead = rig.letters().await.len();
        (used_up + dead == 3).then_some(dead)
    })
    .await;
    assert!(dead <= 1, "{dead} dead letters without a success");
    rig.note(0, "key", "good").await;
    rig.dead(1).await;
    let waiting = eventually("two that wait", LONG, async || {
        let keys = rig.parking().keys(10).await.unwrap();
        (keys.len() == 2).then_some(keys)
    })
    .await;
    // Each is tried again and again, and nothing more is counted.
    let unchanged = rig.parking().keys(10).await.unwrap();
    assert!(
        unchanged.iter().all(|key| key.attempts == 5),
        "{unchanged:?}"
    );
    assert!(consumer.health.check().is_ok(), "two are no outage");
    for n in 0..18 {
        rig.note(0, &format!("key-{n}"), &format!("good-{n:02}"))
            .await;
    }
    rig.effect("good-17").await;
    assert_eq!(rig.letters().await.len(), 1);
    rig.note(0, "key-18", "good-18").await;
    rig.dead(2).await;
    // An operator's order needs no slot.
    let last = eventually("one that waits", LONG, async || {
        let keys = rig.parking().keys(10).await.unwrap();
        (keys.len() == 1).then(|| keys[0].place.clone())
    })
    .await;
    assert!(waiting.iter().any(|key| key.place == last));
    assert!(rig.parking().dead_letter_now(&last).await.unwrap());
    let letters = rig.dead(3).await;
    rig.settled().await;
    consumer.stop().await;
    assert_eq!(letters[1].header("__dlq.errors.delivery.count"), "6");
    assert_eq!(rig.effects().await.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_beyond_the_slots_waits_in_the_parking_with_its_key_in_order() {
    let mut rig = Rig::new("flood_garbage", 1).await;
    rig.settings.flood = FloodPolicy::default();
    for n in 0..3 {
        let key = format!("key-{n}");
        rig.note(0, &key, &format!("good-before-{n}")).await;
        let none = Headers::new();
        rig.sender
            .send(
                &rig.topic,
                Some(0),
                Some(key.as_bytes()),
                Some(b"garbage"),
                &none,
            )
            .await;
        rig.note(0, &key, &format!("good-after-{n}")).await;
    }
    let consumer = rig.start(&Scripted::succeed());
    rig.effects_of(4).await;
    let parked = eventually("two keys to wait", LONG, async || {
        let keys = rig.parking().keys(10).await.unwrap();
        (keys.len() == 2).then_some(keys)
    })
    .await;
    assert!(parked.iter().all(|key| key.depth >= 2), "{parked:?}");
    for n in 0..40 {
        rig.note(0, &format!("other-{n}"), &format!("good-{n}"))
            .await;
    }
    rig.dead(3).await;
    rig.effects_of(46).await;
    rig.settled().await;
    consumer.stop().await;
    assert_eq!(rig.reordered().await, 0);
    assert_eq!(rig.letters().await.len(), 3);
}
