//! A batch handler that names the records that failed: the others go through in one further try, however many failed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use oncebox::{BatchFailure, BatchHandler, Delivery, ErrorClass, Failure, Handler as _};
use sqlx::PgConnection;

use crate::rig::{Note, Rig};
use crate::script::{Scripted, text};

type Calls = Arc<Mutex<Vec<Vec<String>>>>;

/// Writes all effects, then names what failed: "bad" for good, "shaky" the first time.
struct Names(Calls);

#[async_trait]
impl BatchHandler for Names {
    type Message = Note;

    async fn handle(
        &self,
        tx: &mut PgConnection,
        batch: &[Delivery<Note>],
    ) -> Result<(), BatchFailure> {
        let names: Vec<String> = batch.iter().map(|one| text(one).to_owned()).collect();
        let before = {
            let mut calls = self.0.lock().unwrap();
            let before = times(&calls);
            calls.push(names);
            before
        };
        for delivery in batch {
            Scripted::succeed().handle(&mut *tx, delivery).await?;
        }
        let failed = batch.iter().enumerate().filter_map(|(index, delivery)| {
            let name = text(delivery);
            let (class, code) = if name.starts_with("bad") {
                (ErrorClass::Permanent, "test.bad")
            } else if name.starts_with("shaky") && !before.contains_key(name) {
                (ErrorClass::Transient, "test.shaky")
            } else {
                return None;
            };
            Some((index, Failure::new(class, code, "named")))
        });
        let failed: Vec<_> = failed.collect();
        if failed.is_empty() {
            Ok(())
        } else {
            Err(BatchFailure::Records(failed))
        }
    }
}

fn times(calls: &[Vec<String>]) -> HashMap<String, usize> {
    let mut times = HashMap::new();
    for name in calls.iter().flatten() {
        *times.entry(name.clone()).or_default() += 1;
    }
    times
}

/// Sends 500 records of so many keys, of which every 25th is bad and every 40th shaky; returns the calls.
async fn five_hundred(rig: &Rig, keys: usize) -> Vec<Vec<String>> {
    let mut good = 0;
    for n in 0..500 {
        let what = match n {
            _ if n % 25 == 7 => "bad",
            _ if n % 40 == 3 => "shaky",
            _ => "good",
        };
        good += usize::from(what != "bad");
        rig.note(0, &format!("key-{}", n % keys), &format!("{what}-{n:03}"))
            .await;
    }
    let calls = Calls::default();
    let consumer = rig.start_batch(Names(Arc::clone(&calls)), rig.pool().clone());
    rig.dead(20).await;
    rig.effects_of(good).await;
    rig.settled().await;
    consumer.stop().await;
    assert_eq!(rig.effects().await.len(), good, "each once");
    assert_eq!(rig.reordered().await, 0);
    let letters = rig.letters().await;
    assert_eq!(letters.len(), 20);
    for letter in letters {
        assert_eq!(letter.header("oncebox-error-code"), "test.bad");
        assert_eq!(letter.header("__dlq.errors.delivery.count"), "1");
    }
    calls.lock().unwrap().clone()
}

/// Calls with bad records in them, and calls of nothing but what was in a call before, without those of one shaky record.
fn failed_and_further(calls: &[Vec<String>]) -> (usize, usize) {
    let failed = calls
        .iter()
        .filter(|call| call.iter().any(|name| name.starts_with("bad")));
    let further = calls.iter().enumerate().filter(|(index, call)| {
        let before = times(&calls[..*index]);
        let alone = call.len() == 1 && call[0].starts_with("shaky");
        !alone && call.iter().all(|name| before.contains_key(name))
    });
    (failed.count(), further.count())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_others_are_tried_once_more_and_those_named_not_at_all() {
    let rig = Rig::new("partial", 1).await;
    let calls = five_hundred(&rig, 500).await;
    let (failed, further) = failed_and_further(&calls);
    println!("{} calls, {failed} of them failed", calls.len());
    assert!(further <= failed, "{further} for {failed}");
    let most_bad = calls
        .iter()
        .map(|call| call.iter().filter(|name| name.starts_with("bad")).count())
        .max();
    assert!(most_bad > Some(2), "several failed together: {most_bad:?}");
    for (name, times) in times(&calls) {
        let most = if name.starts_with("bad") { 1 } else { 2 };
        assert!(times <= most, "{name} was tried {times} times");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_behind_a_failed_record_of_its_key_is_tried_together_too() {
    let rig = Rig::new("partial_keys", 1).await;
    // Bad and shaky ones have successors in their keys: 25 and 40 do not divide 90.
    let calls = five_hundred(&rig, 90).await;
    let (failed, further) = failed_and_further(&calls);
    println!("{} calls, {failed} of them failed", calls.len());
    // The others, then what is behind, as often as a key failed: four times at most.
    assert!(further <= 5 * failed, "{further} for {failed}");
    for (name, times) in times(&calls) {
        let most = if name.starts_with("bad") { 1 } else { 2 };
        assert!(times <= most, "{name} was tried {times} times");
    }
}
