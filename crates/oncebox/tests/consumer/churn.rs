//! A minute of rebalances under load: members join, leave and are killed every few seconds, and no record notices.

use std::time::{Duration, Instant};

use futures::future::join_all;
use testkit::eventually;

use crate::member::{Member, tables};
use crate::rig::{LONG, Rig};

/// Records a second. `CHURN_RATE` and `CHURN_S` are for machines that cannot.
const RATE: usize = 2_000;
const TIME_S: usize = 60;
const KEYS: usize = 400;
const PARTITIONS: i32 = 6;

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_of_members_that_join_leave_and_are_killed_under_load() {
    let rig = Rig::new("churn", PARTITIONS).await;
    tables(&rig).await;
    let (rate, time_s) = (setting("CHURN_RATE", RATE), setting("CHURN_S", TIME_S));
    let time = Duration::from_secs(time_s as u64);
    let first = Member::start(&rig);
    rig.note(0, "key-0", "ready").await;
    rig.effect("ready").await;

    let began = Instant::now();
    // The last members finish the rest.
    let (sent, (_members, joined, left, killed)) =
        tokio::join!(send(&rig, rate, time), churn(&rig, first, began, time));
    let sending = began.elapsed();
    let handled = count(&rig).await;
    let reached = sent as f64 / time.as_secs_f64();
    let total = sent as i64 + 1;
    eventually("all effects", LONG * 2, async || {
        (count(&rig).await >= total).then_some(())
    })
    .await;
    println!(
        "{sent} records in {sending:?}: {reached:.0}/s wanted {rate}/s; {joined} joined, {left} left, {killed} killed; \
         {handled} handled meanwhile, all after {:?}",
        began.elapsed()
    );
    assert!(
        reached >= 0.98 * rate as f64,
        "{reached:.0} records a second"
    );
    assert!(joined >= 3 && left >= 2 && killed >= 2);
    let distinct: i64 = sqlx::query_scalar("select count(distinct event_id) from effects")
        .fetch_one(rig.pool())
        .await
        .unwrap();
    assert_eq!(
        (count(&rig).await, distinct),
        (total, total),
        "0 lost, 0 doubled"
    );
    assert_eq!(rig.reordered().await, 0);
    assert!(rig.letters().await.is_empty() && rig.attempts().await.is_empty());
}

async fn count(rig: &Rig) -> i64 {
    sqlx::query_scalar("select count(*) from effects")
        .fetch_one(rig.pool())
        .await
        .unwrap()
}

/// Sends at the rate, by the clock: what a slow moment missed is caught up.
async fn send(rig: &Rig, rate: usize, time: Duration) -> usize {
    let (began, mut sent) = (Instant::now(), 0);
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while began.elapsed() < time {
        tick.tick().await;
        let until = began.elapsed().min(time).as_millis() as usize * rate / 1_000;
        let batch = (sent..until.max(sent)).map(|n| async move {
            let key = n % KEYS;
            let partition = key as i32 % PARTITIONS;
            rig.note(partition, &format!("key-{key}"), &format!("note-{n}"))
                .await
        });
        sent += join_all(batch).await.len();
    }
    sent
}

/// Every three seconds a member joins, leaves or is killed; one at least stays. Those that are left, and how many of each.
async fn churn(
    rig: &Rig,
    first: Member,
    began: Instant,
    time: Duration,
) -> (Vec<Member>, usize, usize, usize) {
    let (mut members, mut leaving) = (vec![first], Vec::new());
    let (mut joined, mut left, mut killed) = (0, 0, 0);
    let mut tick = tokio::time::interval(Duration::from_secs(3));
    for step in 0.. {
        tick.tick().await;
        if began.elapsed() >= time {
            break;
        }
        match step % 4 {
            0 | 2 => {
                members.push(Member::start(rig));
                joined += 1;
            }
            1 => {
                let member = members.remove(0);
                member.ask_to_end();
                leaving.push(member);
                left += 1;
            }
            _ => {
                members.remove(0).kill();
                killed += 1;
            }
        }
    }
    for mut member in leaving {
        let status = eventually("a leaving member to end", LONG, async || member.ended()).await;
        assert!(status.success(), "{}", member.log());
    }
    for member in &mut members {
        assert!(member.ended().is_none(), "{}", member.log());
    }
    (members, joined, left, killed)
}
