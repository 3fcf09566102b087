//! Outages and ends while keys are parked: nothing is lost or half done, nobody is expelled, and nothing spins.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use oncebox::{Each, ErrorClass, RetryPolicy};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use testkit::{Proxy, eventually};

use crate::member::{Member, tables};
use crate::rig::{LONG, Rig, Running};
use crate::script::{Act, Scripted, text};

fn bad_while(broken: &Arc<AtomicBool>) -> Scripted {
    let broken = Arc::clone(broken);
    Scripted::new(move |delivery, _| {
        if text(delivery).starts_with("bad") && broken.load(Ordering::SeqCst) {
            Act::Fail(ErrorClass::Transient)
        } else {
            Act::Succeed
        }
    })
}

fn patient(rig: &mut Rig) {
    rig.settings.retry = RetryPolicy {
        retries: 100_000,
        first_delay_ms: 20,
        max_delay_ms: 50,
        ..RetryPolicy::default()
    };
}

async fn parked(rig: &Rig, keys: usize) {
    eventually("the keys to be parked", LONG, async || {
        (rig.parking().keys(100).await.unwrap().len() == keys).then_some(())
    })
    .await;
}

fn polls(consumer: &Running) {
    let status = consumer.health.status();
    assert!(status.last_poll_age.unwrap() < Duration::from_secs(5));
    assert_eq!(status.assigned_partitions, 2, "topic and replay topic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_and_comes_while_keys_are_parked() {
    let mut rig = Rig::new("park_db", 1).await;
    patient(&mut rig);
    let options: PgConnectOptions = rig.database.url().parse().unwrap();
    let proxy = Proxy::to(&format!("{}:{}", options.get_host(), options.get_port())).await;
    let pool = PgPoolOptions::new()
        .acquire_timeout(Duration::from_millis(500))
        .connect_with(options.host("127.0.0.1").port(proxy.address().port()))
        .await
        .unwrap();
    let broken = Arc::new(AtomicBool::new(true));
    let handler = bad_while(&broken);
    let consumer = rig.start_batch(Each(handler.clone()), pool);
    rig.note(0, "sick", "bad-00").await;
    rig.note(0, "sicker", "bad-01").await;
    parked(&rig, 2).await;

    let mut n = 2;
    for weather in ["cut", "stalled", "reset", "cut"] {
        match weather {
            "cut" => proxy.cut(),
            "stalled" => proxy.stall(),
            _ => proxy.reset(),
        }
        let (connections, calls) = (proxy.accepted(), handler.calls());
        for key in ["sick", "well", "sicker"] {
            rig.note(0, key, &format!("note-{n:02}")).await;
            n += 1;
        }
        if weather == "cut" {
            eventually("the outage to be noticed", LONG, async || {
                consumer
                    .health
                    .status()
                    .outage
                    .filter(|text| text.contains("database.away"))
            })
            .await;
        }
        if weather != "reset" {
            // A time in which something that spins would show.
            tokio::time::sleep(Duration::from_secs(2)).await;
            polls(&consumer);
            let (tried, called) = (proxy.accepted() - connections, handler.calls() - calls);
            println!("{weather}: {tried} connections and {called} calls in 2 s");
            assert!(tried < 200, "{tried} connections");
            assert!(called < 20, "{called} calls");
            proxy.mend();
        }
        rig.effect(&format!("note-{:02}", n - 2)).await;
        eventually("both to be tried again", LONG, async || {
            (handler.calls() > calls + 4).then_some(())
        })
        .await;
    }
    broken.store(false, Ordering::SeqCst);
    let effects = rig.effects_of(n).await;
    rig.settled().await;
    eventually("readiness", LONG, async || consumer.health.check().ok()).await;
    consumer.stop().await;
    assert_eq!(effects.len(), n, "each once");
    assert_eq!(rig.reordered().await, 0);
    assert!(rig.letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_goes_and_comes_while_keys_are_parked() {
    let mut rig = Rig::new("park_broker", 1).await;
    patient(&mut rig);
    let proxy = Proxy::to_broker(&testkit::kafka_address()).await;
    rig.settings.bootstrap = proxy.address().to_string();
    let mut n = 0;
    for weather in ["cut", "stalled", "reset"] {
        let broken = Arc::new(AtomicBool::new(true));
        let handler = bad_while(&broken);
        let consumer = rig.start(&handler);
        rig.note(0, "sick", &format!("bad-{n}")).await;
        rig.note(0, "sick", &format!("note-{n}")).await;
        rig.note(0, "well", &format!("well-{n}")).await;
        rig.effect(&format!("well-{n}")).await;
        parked(&rig, 1).await;
        match weather {
            "cut" => proxy.cut(),
            "stalled" => proxy.stall(),
            _ => proxy.reset(),
        }
        if weather == "cut" {
            eventually("the outage to be noticed", LONG, async || {
                consumer.health.status().broker_error
            })
            .await;
        }
        // What is parked needs no broker.
        let (connections, calls) = (proxy.accepted(), handler.calls());
        eventually("the head to be tried again", LONG, async || {
            (handler.calls() > calls + 3).then_some(())
        })
        .await;
        broken.store(false, Ordering::SeqCst);
        rig.effect(&format!("note-{n}")).await;
        rig.settled().await;
        let age = consumer.health.status().last_poll_age.unwrap();
        assert!(age < Duration::from_secs(5), "{weather}: {age:?}");
        let tried = proxy.accepted() - connections;
        assert!(tried < 200, "{weather}: {tried} connections");
        proxy.mend();
        rig.note(0, "sick", &format!("after-{n}")).await;
        eventually("the record after it", LONG * 2, async || {
            let effects = rig.effects().await;
            effects.contains(&format!("after-{n}")).then_some(())
        })
        .await;
        eventually("readiness", LONG, async || consumer.health.check().ok()).await;
        consumer.stop().await;
        n += 1;
    }
    assert_eq!(rig.effects().await.len(), 4 * n, "each once");
    assert_eq!(rig.reordered().await, 0);
    assert!(rig.letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_with_parked_keys_is_quick_and_leaves_nothing_half_done() {
    let rig = Rig::new("park_sigterm", 4).await;
    tables(&rig).await;
    sqlx::query("insert into broken default values")
        .execute(rig.pool())
        .await
        .unwrap();
    let mut member = Member::start(&rig);
    for n in 0..8 {
        rig.note(n % 4, &format!("sick-{n}"), &format!("bad-{n}"))
            .await;
    }
    parked(&rig, 8).await;
    let mut sent = 8;
    for round in 0..3 {
        let (asked, before) = (sent + 500, rig.effects().await.len());
        // Load goes on while it is told to end.
        let load = async {
            while sent < asked + 500 {
                let batch = (sent..sent + 50).map(|n| {
                    let rig = &rig;
                    async move {
                        let who = if n % 5 == 0 { "sick" } else { "well" };
                        let key = format!("{who}-{}", n % 8);
                        rig.note(n % 4, &key, &format!("note-{n:05}")).await
                    }
                });
                join_all(batch).await;
                sent += 50;
            }
        };
        let ending = async {
            eventually("some work", LONG, async || {
                (rig.effects().await.len() > before + 100).then_some(())
            })
            .await;
            member.ask_to_end();
            let told = Instant::now();
            let status = eventually("the end", LONG, async || member.ended()).await;
            (status, told.elapsed())
        };
        let ((), (status, took)) = tokio::join!(load, ending);
        println!("round {round}: out after {took:?}");
        assert!(status.success(), "{}", member.log());
        assert!(took < Duration::from_secs(10), "{took:?}");
        half_done_is_nothing(&rig).await;
        member = Member::start(&rig);
    }
    sqlx::query("delete from broken")
        .execute(rig.pool())
        .await
        .unwrap();
    let sent = sent as usize;
    eventually("all effects", LONG * 2, async || {
        (rig.effects().await.len() >= sent).then_some(())
    })
    .await;
    rig.settled().await;
    assert_eq!(rig.effects().await.len(), sent, "each once");
    assert_eq!(rig.reordered().await, 0);
    half_done_is_nothing(&rig).await;
    assert!(rig.letters().await.is_empty());
}

/// Both halves of each effect, its inbox row, and nothing else.
async fn half_done_is_nothing(rig: &Rig) {
    let odd: i64 = sqlx::query_scalar(
        "select count(*) from (
             select event_id from effects
             full join halves using (event_id)
             full join (select event_id from oncebox.inbox where status = 'processed') as inbox using (event_id)
             where effects.event_id is null or halves.event_id is null or inbox.event_id is null) as odd",
    )
    .fetch_one(rig.pool())
    .await
    .unwrap();
    assert_eq!(odd, 0, "half done");
}
