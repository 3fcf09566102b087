//! Shards spread over relays that come, go and sleep.

use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn shards_spread_over_relays_that_come_and_go() {
    let world = World::new().await;
    let first = world.start();
    first.divide(4).await;
    world.spread_over(&[(&first, 4)]).await;
    let (writer, stop) = world.write_on();
    let second = world.start();
    world.spread_over(&[(&first, 2), (&second, 2)]).await;
    let third = world.start();
    world.spread_evenly(&[&first, &second, &third], 4).await;

    let shown = third.relay(&["shards", "show"]).await;
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains(&format!("/{}", third.child.id())), "{shown}");
    let status = third.relay(&["status"]).await;
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains("bench/3"), "{status}");

    drop(first);
    let took = world.spread_over(&[(&second, 2), (&third, 2)]).await;
    println!("{took:?} after kill -9");
    assert!(took < Duration::from_secs(5), "{took:?} after kill -9");
    // The quickest of three: what the tests beside this one take of the machine is not the relay's.
    let mut leaving = third;
    let mut quickest = Duration::MAX;
    for _ in 0..3 {
        // Not in the middle of taking them over, which it would end first.
        leaving.publishes(2).await;
        leaving.signal(Signal::SIGTERM);
        let took = world.spread_over(&[(&second, 4)]).await;
        println!("{took:?} after SIGTERM");
        quickest = quickest.min(took);
        leaving = world.start();
        world.spread_over(&[(&second, 2), (&leaving, 2)]).await;
    }
    assert!(
        quickest < Duration::from_secs(1),
        "{quickest:?} after SIGTERM"
    );
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    world.check().await;
}

/// A relay that was frozen while its shards went to another, and wakes, publishes nothing and takes its part again.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_slept_through_its_leases_comes_back_to_its_share() {
    let world = World::new().await;
    let first = world.start();
    first.divide(3).await;
    let second = world.start();
    let (writer, stop) = world.write_on();
    world.spread_evenly(&[&first, &second], 3).await;
    for sleeper in [&first, &second, &first] {
        sleeper.signal(Signal::SIGSTOP);
        let awake = if std::ptr::eq(sleeper, &raw const first) {
            &second
        } else {
            &first
        };
        world.spread_over(&[(awake, 3)]).await;
        sleeper.signal(Signal::SIGCONT);
        world.spread_evenly(&[&first, &second], 3).await;
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    world.check().await;
}
