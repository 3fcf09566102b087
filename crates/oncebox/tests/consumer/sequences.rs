//! A consumer that demands sequences handles each key in their order, however its records arrive.

use std::process::{Command, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use oncebox::sequence::{InSequence, OnGap};
use oncebox::{
    Codec, Consumer, ConsumerSettings, Delivery, Each, ErrorClass, EventId, Failure, Handler,
    OnDeadLetter, dead_letter,
};
use rand::seq::SliceRandom as _;
use rand::{SeedableRng as _, rngs::StdRng};
use sqlx::PgConnection;
use testkit::eventually;
use tokio_util::sync::CancellationToken;

use crate::rig::{GROUP, LONG, Note, Rig, Running, with_id};
use crate::script::{Act, Scripted, text};

/// Long enough for what comes, so that only order and not time ends a wait.
const NEVER: Duration = Duration::from_secs(600);
/// For a gap that is not closed.
const SOON: Duration = Duration::from_millis(700);

impl Rig {
    async fn ordered(label: &str, partitions: i32, deadline: Duration, on_gap: OnGap) -> Self {
        let mut rig = Self::new(label, partitions).await;
        rig.settings.in_sequence = Some(InSequence {
            deadline,
            on_gap,
            ..InSequence::default()
        });
        rig
    }

    async fn sequenced(&self, partition: i32, key: &str, sequence: i64) -> EventId {
        let id = EventId::new();
        let text = format!("{key}-{sequence:03}");
        self.sequenced_as(
            &self.topic,
            partition,
            id,
            key,
            &sequence.to_string(),
            &text,
        )
        .await;
        id
    }

    async fn sequenced_as(
        &self,
        topic: &str,
        partition: i32,
        id: EventId,
        key: &str,
        sequence: &str,
        text: &str,
    ) {
        let mut headers = with_id(id);
        headers.push("oncebox-sequence", sequence);
        let value = self.encode(key, text).await;
        self.sender
            .send(
                topic,
                Some(partition),
                Some(key.as_bytes()),
                Some(&value),
                &headers,
            )
            .await;
    }

    /// Waits until a key waits for that sequence.
    async fn waits_for(&self, sequence: u64) {
        eventually(&format!("a key to wait for {sequence}"), LONG, async || {
            let keys = self.parking().keys(10).await.unwrap();
            let waiting = keys.iter().find(|key| key.waits_for == Some(sequence))?;
            assert!(waiting.waits_until.is_some() && waiting.last_error.is_none());
            Some(())
        })
        .await;
    }

    /// How many effects came before one of a smaller sequence of their key, or twice.
    async fn out_of_order(&self) -> i64 {
        sqlx::query_scalar(
            "select count(*) from (select text, lag(text) over (partition by key order by at) as before from effects) as pairs
             where text <= before",
        )
        .fetch_one(self.pool())
        .await
        .unwrap()
    }

    async fn codes(&self, count: usize) -> Vec<String> {
        let letters = self.dead(count).await;
        let code = |row: &crate::rig::Row| row.header(dead_letter::names::ERROR_CODE);
        letters.iter().map(code).collect()
    }
}

fn numbered(key: &str, sequences: impl IntoIterator<Item = i64>) -> Vec<String> {
    let text = |sequence| format!("{key}-{sequence:03}");
    sequences.into_iter().map(text).collect()
}

async fn ended(rig: &Rig, consumer: Running) {
    rig.settled().await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shuffled_arrivals_of_many_keys_are_handled_in_order_and_repetitions_dropped() {
    let mut rig = Rig::ordered("shuffled", 2, NEVER, OnGap::Process).await;
    rig.settings.batch_max_records = 7;
    let mut random = StdRng::seed_from_u64(5);
    let mut all: Vec<(i32, i64)> = (0..8)
        .flat_map(|key| (1..=12).map(move |sequence| (key, sequence)))
        .collect();
    let repeated = all.clone();
    all.extend(
        repeated
            .iter()
            .filter(|(key, sequence)| (key + *sequence as i32) % 3 == 0),
    );
    all.shuffle(&mut random);
    let consumer = rig.start(&Scripted::succeed());
    for (key, sequence) in &all {
        // Each under an event id of its own: only the sequence tells that it is repeated.
        rig.sequenced(key % 2, &format!("k{key}"), *sequence).await;
    }
    rig.effects_of(96).await;
    ended(&rig, consumer).await;
    assert_eq!(rig.effects().await.len(), 96);
    assert_eq!(rig.out_of_order().await, 0);
    assert!(rig.letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_producers_of_one_key_that_interleave_by_two_partitions_end_in_order() {
    let rig = Rig::ordered("producers", 2, NEVER, OnGap::Process).await;
    let consumer = rig.start(&Scripted::succeed());
    let producer = async |partition: i32, sequences: Vec<i64>| {
        for sequence in sequences {
            rig.sequenced(partition, "meter", sequence).await;
        }
    };
    let odd = (1..=60).filter(|sequence| sequence % 2 == 1).collect();
    let even = (1..=60).filter(|sequence| sequence % 2 == 0).collect();
    tokio::join!(producer(0, odd), producer(1, even));
    rig.effects_of(60).await;
    ended(&rig, consumer).await;
    assert_eq!(rig.effects().await, numbered("meter", 1..=60));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_waited_for_and_seen_while_other_keys_flow_and_a_restart_loses_nothing() {
    let rig = Rig::ordered("gap", 1, NEVER, OnGap::DeadLetter).await;
    let consumer = rig.start(&Scripted::succeed());
    for sequence in [1, 4, 3] {
        rig.sequenced(0, "a", sequence).await;
    }
    rig.sequenced(0, "b", 1).await;
    rig.effect("b-001").await;
    rig.waits_for(2).await;
    consumer.stop().await;
    rig.sequenced(0, "a", 6).await;
    let consumer = rig.start(&Scripted::succeed());
    rig.sequenced(0, "b", 2).await;
    rig.effect("b-002").await;
    rig.waits_for(2).await;
    let keys = rig.parking().keys(10).await.unwrap();
    assert_eq!((keys.len(), keys[0].depth), (1, 3));
    rig.sequenced(0, "a", 2).await;
    rig.waits_for(5).await;
    rig.sequenced(0, "a", 5).await;
    rig.effect("a-006").await;
    // The key is back on the normal path.
    rig.settled().await;
    rig.sequenced(0, "a", 7).await;
    rig.effect("a-007").await;
    ended(&rig, consumer).await;
    let effects = rig.effects().await;
    let of_a: Vec<String> = effects
        .into_iter()
        .filter(|text| text.starts_with('a'))
        .collect();
    assert_eq!(of_a, numbered("a", 1..=7));
    assert!(rig.letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_that_never_fills_is_passed_at_its_deadline_and_what_comes_late_is_kept() {
    let rig = Rig::ordered("process", 1, SOON, OnGap::Process).await;
    let consumer = rig.start(&Scripted::succeed());
    for sequence in [1, 3, 4, 7] {
        rig.sequenced(0, "a", sequence).await;
    }
    rig.effects_of(4).await;
    let late = rig.sequenced(0, "a", 5).await;
    assert_eq!(rig.codes(1).await, ["sequence.late"]);
    rig.sequenced(0, "a", 8).await;
    rig.effect("a-008").await;
    // A replay is asked for by name: it is handled out of order.
    assert_eq!(rig.status(late).await.as_deref(), Some("dead"));
    rig.sequenced_as(&rig.replay_topic(), 0, late, "a", "5", "a-005")
        .await;
    rig.effect("a-005").await;
    ended(&rig, consumer).await;
    assert_eq!(rig.effects().await, numbered("a", [1, 3, 4, 7, 8, 5]));
    assert_eq!(rig.letters().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_behind_a_gap_that_never_fills_is_dead_lettered_at_its_deadline() {
    let rig = Rig::ordered("buried", 1, SOON, OnGap::DeadLetter).await;
    let consumer = rig.start(&Scripted::succeed());
    for sequence in [1, 4, 3] {
        rig.sequenced(0, "a", sequence).await;
    }
    assert_eq!(rig.codes(2).await, ["sequence.gap", "sequence.gap"]);
    rig.settled().await;
    rig.sequenced(0, "a", 5).await;
    rig.effect("a-005").await;
    ended(&rig, consumer).await;
    assert_eq!(rig.effects().await, numbered("a", [1, 5]));
    assert_eq!(rig.letters().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_that_is_dead_lettered_holds_its_key_where_dead_letters_do() {
    let mut rig = Rig::ordered("holds", 1, SOON, OnGap::DeadLetter).await;
    rig.settings.on_dead_letter = OnDeadLetter::Hold;
    let consumer = rig.start(&Scripted::succeed());
    rig.sequenced(0, "a", 1).await;
    let third = rig.sequenced(0, "a", 3).await;
    rig.sequenced(0, "a", 4).await;
    assert_eq!(rig.codes(1).await, ["sequence.gap"]);
    eventually("the key to be held", LONG, async || {
        let keys = rig.parking().keys(10).await.unwrap();
        keys.iter()
            .any(|key| key.held_for == Some(third.as_uuid()))
            .then_some(())
    })
    .await;
    rig.sequenced_as(&rig.replay_topic(), 0, third, "a", "3", "a-003")
        .await;
    eventually("nothing parked", LONG, async || {
        rig.parking()
            .keys(10)
            .await
            .unwrap()
            .is_empty()
            .then_some(())
    })
    .await;
    ended(&rig, consumer).await;
    assert_eq!(rig.effects().await, numbered("a", [1, 3, 4]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_fails_keeps_its_place_and_its_attempts_among_those_that_wait() {
    let rig = Rig::ordered("failing", 1, NEVER, OnGap::Process).await;
    let consumer = rig.start(&Scripted::new(|delivery, call| {
        if text(delivery) == "a-002" && call < 4 {
            Act::Fail(ErrorClass::Transient)
        } else if text(delivery) == "a-003" {
            Act::Fail(ErrorClass::Permanent)
        } else {
            Act::Succeed
        }
    }));
    for sequence in [1, 2, 5, 4, 3] {
        rig.sequenced(0, "a", sequence).await;
    }
    rig.effects_of(4).await;
    ended(&rig, consumer).await;
    assert_eq!(rig.effects().await, numbered("a", [1, 2, 4, 5]));
    assert_eq!(rig.codes(1).await, ["test.refused"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_place_in_an_order_is_dead_lettered_and_what_cannot_be_read_keeps_its_place() {
    let rig = Rig::ordered("placeless", 1, NEVER, OnGap::Process).await;
    rig.note(0, "a", "no sequence").await;
    rig.sequenced_as(&rig.topic, 0, EventId::new(), "a", "first", "no number")
        .await;
    let value = rig.encode("", "no key").await;
    let id = with_id(EventId::new());
    rig.sender
        .send(&rig.topic, Some(0), None, Some(&value), &id)
        .await;
    rig.sequenced(0, "a", 1).await;
    let mut headers = with_id(EventId::new());
    headers.push("oncebox-sequence", "2");
    rig.sender
        .send(
            &rig.topic,
            Some(0),
            Some(b"a"),
            Some(b"unreadable"),
            &headers,
        )
        .await;
    rig.sequenced(0, "a", 3).await;
    let consumer = rig.start(&Scripted::succeed());
    rig.effect("a-003").await;
    assert_eq!(
        rig.codes(4).await,
        [
            "sequence.missing",
            "sequence.malformed",
            "sequence.no_key",
            "decode.not_framed"
        ]
    );
    ended(&rig, consumer).await;
    assert_eq!(rig.effects().await, numbered("a", [1, 3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_does_not_pass_while_nothing_can_come() {
    let rig = Rig::ordered("stopped", 1, SOON * 3, OnGap::DeadLetter).await;
    let consumer = rig.start(&Scripted::succeed());
    for sequence in [1, 3] {
        rig.sequenced(0, "a", sequence).await;
    }
    rig.waits_for(2).await;
    consumer.stop().await;
    // As if the consumer had been stopped for long.
    sqlx::query("update oncebox.parked set parked_at = parked_at - interval '1 day'")
        .execute(rig.pool())
        .await
        .unwrap();
    rig.sequenced(0, "a", 2).await;
    let consumer = rig.start(&Scripted::succeed());
    rig.effect("a-003").await;
    ended(&rig, consumer).await;
    assert_eq!(rig.effects().await, numbered("a", 1..=3));
    assert!(rig.letters().await.is_empty());
}

/// Takes records whose text begins with "free" as of a type that needs no order.
struct PartlyFree(Scripted);

#[async_trait]
impl Handler for PartlyFree {
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

#[tokio::test(flavor = "multi_thread")]
async fn an_order_free_type_waits_for_nobody_and_nobody_waits_for_it() {
    let rig = Rig::ordered("freely", 1, NEVER, OnGap::Process).await;
    let handler = Each(PartlyFree(Scripted::succeed()));
    let consumer = rig.start_batch(handler, rig.pool().clone());
    for (sequence, text) in [("3", "a-003"), ("2", "free"), ("4", "free too")] {
        let id = EventId::new();
        rig.sequenced_as(&rig.topic, 0, id, "a", sequence, text)
            .await;
    }
    rig.effect("free").await;
    rig.effect("free too").await;
    rig.waits_for(1).await;
    for sequence in [5, 1] {
        rig.sequenced(0, "a", sequence).await;
    }
    rig.effect("a-005").await;
    ended(&rig, consumer).await;
    assert_eq!(rig.effects().await[2..], numbered("a", [1, 3, 5]));
}

const DATABASE: &str = "SEQUENCES_DATABASE";
const PREFIX: &str = "SEQUENCES_PREFIX";

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_shuffled_arrivals_it_ends_in_order_and_whole() {
    let rig = Rig::ordered("killed", 1, NEVER, OnGap::DeadLetter).await;
    let mut all: Vec<(i64, i64)> = (0..3)
        .flat_map(|key| (1..=25).map(move |sequence| (key, sequence)))
        .collect();
    all.shuffle(&mut StdRng::seed_from_u64(9));
    for (key, sequence) in all {
        rig.sequenced(0, &format!("k{key}"), sequence).await;
    }
    for round in 1..=3 {
        let mut other = Command::new(std::env::current_exe().unwrap())
            .args(["sequences::the_killed_process", "--exact", "--ignored"])
            .env(DATABASE, rig.database.url())
            .env(PREFIX, &rig.settings.topic_prefix)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let before = rig.effects().await.len();
        eventually("some effects of the process", LONG, async || {
            (rig.effects().await.len() > before + 5).then_some(())
        })
        .await;
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(
            rig.effects().await.len() < 75,
            "round {round} came too late"
        );
    }
    let consumer = rig.start(&Scripted::succeed());
    rig.effects_of(75).await;
    ended(&rig, consumer).await;
    assert_eq!(
        (rig.effects().await.len(), rig.out_of_order().await),
        (75, 0)
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
    settings.in_sequence = Some(InSequence {
        deadline: NEVER,
        on_gap: OnGap::DeadLetter,
        ..InSequence::default()
    });
    settings
        .kafka
        .insert("session.timeout.ms".into(), "6000".into());
    let codec = Codec::new(&testkit::registry_address(), None).unwrap();
    let slow = Scripted::new(|_, _| Act::Take(Duration::from_millis(40)));
    let consumer = Consumer::new(settings, pool, codec, "1", Each(slow));
    consumer.run(CancellationToken::new()).await.unwrap();
}

/// The wait is in the database, so whoever owns the partition next goes on with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_closed_by_whoever_owns_the_partition_when_the_missing_record_comes() {
    let rig = Rig::ordered("moved_gap", 2, NEVER, OnGap::Process).await;
    let keys = [(0, "a"), (1, "b")];
    let first = rig.start(&Scripted::succeed());
    for (partition, key) in keys {
        rig.sequenced(partition, key, 1).await;
        rig.sequenced(partition, key, 3).await;
    }
    rig.effects_of(2).await;
    rig.waits_for(2).await;
    // A member joins, and the one that has parked them leaves.
    let second = rig.start(&Scripted::succeed());
    first.stop().await;
    for (partition, key) in keys {
        for sequence in [5, 2, 4] {
            rig.sequenced(partition, key, sequence).await;
        }
    }
    rig.effects_of(10).await;
    ended(&rig, second).await;
    assert_eq!(rig.out_of_order().await, 0);
    assert!(rig.letters().await.is_empty());
}
