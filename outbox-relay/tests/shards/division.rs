//! A source divided anew, under load and with a relay that dies or freezes over it.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::sync::atomic::Ordering;

use futures::StreamExt as _;
use nix::sys::signal::Signal;
use outbox_relay::failpoint::{Point, Role};

use crate::world::{PATIENCE, World};

/// Cases that run at the same time.
const AT_ONCE: usize = 4;

/// The number of shards is changed while rows are written, two relays publish and rows are delayed.
#[tokio::test(flavor = "multi_thread")]
async fn divided_anew_under_load_nothing_is_lost_doubled_or_reordered() {
    let world = World::new().await;
    // A backlog, so that the first division has to publish something.
    world.write(200).await;
    let (first, second) = (world.start(), world.start());
    first.answers().await;
    second.answers().await;
    let (writer, stop) = world.write_on();
    for (relay, shards) in [
        (&first, 4),
        (&second, 3),
        (&first, 1),
        (&second, 8),
        (&first, 2),
    ] {
        relay.divide(shards).await;
        let before = world.written.load(Ordering::Relaxed);
        testkit::eventually("rows under the new layout", PATIENCE, async || {
            (world.written.load(Ordering::Relaxed) > before + 50).then_some(())
        })
        .await;
        world.spread_evenly(&[&first, &second], shards).await;
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    world.check().await;
    let audited = first.relay(&["audit"]).await;
    let audited = String::from_utf8(audited.stdout).unwrap();
    assert_eq!(audited.matches("kim").count(), 5, "{audited}");
}

/// A key that is blocked by a refused row stays blocked through a division, and goes on in order after it.
#[tokio::test(flavor = "multi_thread")]
async fn parked_rows_stay_parked_through_a_division() {
    let world = World::new().await;
    let late = format!("{}late", world.prefix);
    let insert = async |number: i32| {
        for key in ["a", "b", "c"] {
            sqlx::query("insert into oncebox.outbox (event_id, topic, key, payload) values (gen_random_uuid(), $1, $2, $3)")
                .bind(&late)
                .bind(key.as_bytes())
                .bind(number.to_string().into_bytes())
                .execute(world.database.pool())
                .await
                .unwrap();
        }
    };
    let parked = async |rows: i64| {
        testkit::eventually(&format!("{rows} parked"), PATIENCE, async || {
            let parked: i64 = sqlx::query_scalar("select count(*) from oncebox.relay_parked")
                .fetch_one(world.database.pool())
                .await
                .unwrap();
            (parked == rows).then_some(())
        })
        .await;
    };
    let relay = world.start();
    insert(0).await;
    insert(1).await;
    parked(6).await;
    relay.divide(3).await;
    insert(2).await;
    parked(9).await;
    relay.divide(2).await;
    testkit::kafka::create_topics(&[&late], 3).await;
    parked(0).await;
    insert(3).await;
    let records = testkit::eventually("twelve records", PATIENCE, async || {
        let records = testkit::kafka::read_committed(&late).await;
        (records.len() >= 12).then_some(records)
    })
    .await;
    let mut values: HashMap<Vec<u8>, Vec<String>> = HashMap::new();
    for record in records {
        let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        values
            .entry(record.key.unwrap().to_vec())
            .or_default()
            .push(value);
    }
    for (key, values) in values {
        assert_eq!(values, ["0", "1", "2", "3"], "{key:?}");
    }
}

/// A day is dropped only when the cursor of every shard has passed it: here one shard stands still.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_shard_has_not_published_is_not_dropped() {
    let world = World::new().await;
    let relay = world.start();
    relay.divide(4).await;
    world.write(2).await;
    world.check().await;
    drop(relay);
    let (first, second) = (world.start(), world.start());
    world.spread_evenly(&[&first, &second], 4).await;
    second.signal(Signal::SIGSTOP);
    // Within the three seconds of its leases, for none of its shards is published meanwhile: rows of each shard, in a
    // partition of a day that is long over.
    let mut tx = world.database.pool().begin().await.unwrap();
    sqlx::raw_sql(
        "create table oncebox.outbox_20200101 (like oncebox.outbox including defaults including constraints);
         alter table oncebox.outbox attach partition oncebox.outbox_20200101
             for values from ('2020-01-01T00:00Z') to ('2020-01-02T00:00Z')",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    sqlx::query(
        "insert into oncebox.outbox (event_id, topic, key, payload, headers, created_at)
         select id, $1, convert_to('old' || n, 'utf8'), 'x', jsonb_build_object('id', id::text), '2020-01-01T12:00Z'
         from (select n, gen_random_uuid() as id from generate_series(1, 40) n) as rows",
    )
    .bind(&world.topic)
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    world.written.fetch_add(40, Ordering::Relaxed);
    let dropped = async || {
        sqlx::query_scalar::<_, bool>("select to_regclass('oncebox.outbox_20200101') is null")
            .fetch_one(world.database.pool())
            .await
            .unwrap()
    };
    // Rows of the first's shards are out, those of the second's are not.
    testkit::eventually("some of the rows", PATIENCE, async || {
        (testkit::kafka::read_committed(&world.topic).await.len() > 20).then_some(())
    })
    .await;
    while world.spread().await.len() == 2 {
        assert!(
            !dropped().await,
            "rows that nobody has published were dropped"
        );
        tokio::task::yield_now().await;
    }
    second.signal(Signal::SIGCONT);
    world.check().await;
    testkit::eventually("the day is dropped", PATIENCE, async || {
        dropped().await.then_some(())
    })
    .await;
}

/// Killed or frozen at every point of a division, the relay leaves either the old layout or the new one behind.
#[tokio::test(flavor = "multi_thread")]
async fn ended_at_every_point_of_a_division_nothing_is_lost_doubled_or_reordered() {
    let points = Point::ALL
        .iter()
        .filter(|point| point.role() == Role::Divide);
    let cases: Vec<_> = points
        .flat_map(|point| [(*point, "kill"), (*point, "stop")])
        .collect();
    assert!(!cases.is_empty());
    futures::stream::iter(cases)
        .map(|(point, action)| ended_in_a_division(point, action))
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
}

async fn ended_in_a_division(point: Point, action: &str) {
    let world = World::new().await;
    world.write(50).await;
    let mut first = world.start_with(Some((point, action)));
    first.answers().await;
    let mut order = first
        .command(&["shards", "set", "3", "--reason", "a test"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let what = format!("{action} at {}", point.name());
    testkit::eventually(&what, PATIENCE, async || match action {
        "kill" => first.child.try_wait().unwrap().map(|status| {
            assert_eq!(status.signal(), Some(9), "{}", first.log());
        }),
        _ => first.is_stopped().then_some(()),
    })
    .await;
    let second = world.start();
    let (writer, stop) = world.write_on();
    // The mark of one that is frozen is forgotten after ten seconds.
    second.divide(2).await;
    world.spread_over(&[(&second, 2)]).await;
    if action == "stop" {
        first.signal(Signal::SIGCONT);
        world.spread_evenly(&[&first, &second], 2).await;
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    world.check().await;
    order.kill().unwrap();
    order.wait().unwrap();
}
