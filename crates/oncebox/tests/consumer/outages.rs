//! Guarantee G8: an outage pauses; it counts nothing, dead-letters nothing, and does not cost the membership.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use oncebox::{Codec, Each, ErrorClass};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use testkit::{Proxy, eventually};

use crate::rig::{LONG, Rig};
use crate::script::{Act, Scripted};

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_cut_off_costs_no_record_an_attempt() {
    let rig = Rig::new("db_outage", 2).await;
    let options: PgConnectOptions = rig.database.url().parse().unwrap();
    let proxy = Proxy::to(&format!("{}:{}", options.get_host(), options.get_port())).await;
    let pool = PgPoolOptions::new()
        .acquire_timeout(Duration::from_millis(500))
        .connect_with(options.host("127.0.0.1").port(proxy.address().port()))
        .await
        .unwrap();
    let handler = Scripted::succeed();
    let consumer = rig.start_batch(Each(handler.clone()), pool);
    rig.note(0, "k", "before").await;
    rig.effect("before").await;

    proxy.cut();
    for n in 0..40 {
        rig.note(n % 2, "k", &format!("during-{n}")).await;
    }
    let status = eventually("the outage to be noticed", LONG, async || {
        let status = consumer.health.status();
        status.outage.is_some().then_some(status)
    })
    .await;
    let outage = status.outage.unwrap();
    assert!(outage.contains("database.away"), "{outage}");
    assert!(consumer.health.check().is_err());
    assert!(
        status.last_poll_age.unwrap() < Duration::from_secs(5),
        "it still polls"
    );
    proxy.mend();
    rig.effect("during-38").await;
    rig.effect("during-39").await;
    eventually("readiness", LONG, async || consumer.health.check().ok()).await;
    consumer.stop().await;
    assert_eq!(rig.effects().await.len(), 41);
    assert!(rig.letters().await.is_empty() && rig.attempts().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dependency_of_the_handler_that_is_away_is_waited_for() {
    let mut rig = Rig::new("dependency", 1).await;
    rig.settings.retry.retries = 0;
    let away = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&away);
    let handler = Scripted::new(move |_, _| {
        if seen.load(Ordering::SeqCst) {
            Act::Fail(ErrorClass::Outage)
        } else {
            Act::Succeed
        }
    });
    let consumer = rig.start(&handler);
    for n in 0..10 {
        rig.note(0, "k", &format!("note-{n}")).await;
    }
    eventually("several tries", LONG, async || {
        (handler.calls() > 4).then_some(())
    })
    .await;
    assert!(
        rig.letters().await.is_empty()
            && rig.attempts().await.is_empty()
            && rig.effects().await.is_empty()
    );
    away.store(false, Ordering::SeqCst);
    rig.effect("note-9").await;
    consumer.stop().await;
    let expected: Vec<String> = (0..10).map(|n| format!("note-{n}")).collect();
    assert_eq!(rig.effects().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_does_not_turn_records_into_poison() {
    let mut rig = Rig::new("registry", 1).await;
    let address = testkit::registry_address();
    let (_, rest) = address.split_once("://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let proxy = Proxy::to(host).await;
    proxy.cut();
    rig.note(0, "k", "needs its schema").await;
    rig.codec = Codec::new(&format!("http://{}/{path}", proxy.address()), None).unwrap();
    let consumer = rig.start(&Scripted::succeed());
    eventually("the outage to be noticed", LONG, async || {
        consumer
            .health
            .status()
            .outage
            .filter(|outage| outage.contains("registry.away"))
    })
    .await;
    assert!(rig.letters().await.is_empty());
    proxy.mend();
    rig.effect("needs its schema").await;
    consumer.stop().await;
    assert!(rig.letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_slower_than_the_poll_interval_does_not_cost_the_membership() {
    let mut rig = Rig::new("slow", 1).await;
    rig.settings
        .kafka
        .insert("max.poll.interval.ms".into(), "6000".into());
    rig.settings
        .kafka
        .insert("session.timeout.ms".into(), "6000".into());
    rig.note(0, "k", "slow").await;
    let handler = Scripted::new(|_, call| {
        if call == 0 {
            Act::Take(Duration::from_secs(8))
        } else {
            Act::Succeed
        }
    });
    let consumer = rig.start(&handler);
    rig.effect("slow").await;
    rig.note(0, "k", "next").await;
    rig.effect("next").await;
    assert_eq!(
        consumer.health.status().assigned_partitions,
        2,
        "topic and replay topic"
    );
    consumer.stop().await;
    assert_eq!(
        handler.calls(),
        2,
        "expelled members get their records again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_at_the_start_is_found_when_it_is_back() {
    let mut rig = Rig::new("broker", 1).await;
    let proxy = Proxy::to(&testkit::kafka_address()).await;
    proxy.cut();
    rig.settings.bootstrap = proxy.address().to_string();
    let consumer = rig.start(&Scripted::succeed());
    eventually("the missing broker to be noticed", LONG, async || {
        consumer.health.status().broker_error
    })
    .await;
    proxy.mend();
    // Readiness comes back without any record.
    eventually("readiness", LONG, async || consumer.health.check().ok()).await;
    rig.note(0, "k", "after").await;
    rig.effect("after").await;
    consumer.stop().await;
}
