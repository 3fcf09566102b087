//! What the consumer's tests share: a topic, a handler that follows a script, and looking at what came of it.

use std::time::Duration;

use oncebox::{
    BatchHandler, Codec, Consumer, ConsumerHealth, ConsumerSettings, Each, EventId, FloodPolicy,
    Headers, Parking, RetryPolicy, dead_letter,
};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::TopicPartitionList;
use sqlx::PgPool;
use testkit::kafka::Sender;
use testkit::{TestDb, eventually};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::script::Scripted;

pub(crate) const GROUP: &str = "tester";
pub(crate) const LONG: Duration = Duration::from_secs(30);

#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Noted {
    pub(crate) key: String,
    pub(crate) text: String,
}

oncebox::event! {
    Noted = "kit.consumer.Noted" on "kit-consumer.notes" keyed by |event| event.key.clone(),
    schema r#"{"type":"record","name":"Noted","namespace":"kit.consumer","fields":[
        {"name":"key","type":"string"},{"name":"text","type":"string"}]}"#
}

oncebox::messages! {
    pub(crate) enum Note { Noted }
    others dead_letter
}

pub(crate) struct Rig {
    pub(crate) database: TestDb,
    pub(crate) codec: Codec,
    pub(crate) sender: Sender,
    pub(crate) settings: ConsumerSettings,
    pub(crate) topic: String,
}

/// A consumer at work; dropped, it stops.
pub(crate) struct Running {
    pub(crate) health: ConsumerHealth,
    stop: CancellationToken,
    task: JoinHandle<Result<(), oncebox::ConsumerError>>,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(LONG, self.task)
            .await
            .expect("the consumer ends")
            .unwrap()
            .unwrap();
    }
}

impl Rig {
    pub(crate) async fn new(label: &str, partitions: i32) -> Self {
        let database = TestDb::new(label).await;
        sqlx::query(
            "create table effects (at bigserial primary key, event_id uuid not null, key bytea, text text not null,
                partition integer not null, record_offset bigint not null)",
        )
        .execute(database.pool())
        .await
        .unwrap();
        let prefix = testkit::topic_prefix();
        let topic = format!("{prefix}notes");
        let replay = dead_letter::replay_topic(&topic, GROUP);
        testkit::kafka::create_topics(&[&topic, &replay], partitions).await;
        let mut settings = ConsumerSettings::new(testkit::kafka_address(), GROUP, ["notes"]);
        settings.topic_prefix = prefix;
        settings.retry = RetryPolicy {
            first_delay_ms: 20,
            max_delay_ms: 60,
            ..RetryPolicy::default()
        };
        // Most tests are about other things, and bury more than a healthy stream would.
        settings.flood = no_guard();
        let codec = Codec::new(&testkit::registry_address(), None).unwrap();
        Self {
            database,
            codec,
            sender: Sender::new(),
            settings,
            topic,
        }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        self.database.pool()
    }

    pub(crate) fn replay_topic(&self) -> String {
        dead_letter::replay_topic(&self.topic, GROUP)
    }

    pub(crate) fn start(&self, handler: &Scripted) -> Running {
        self.start_batch(Each(handler.clone()), self.pool().clone())
    }

    pub(crate) fn start_batch(&self, handler: impl BatchHandler, pool: PgPool) -> Running {
        let consumer = Consumer::new(
            self.settings.clone(),
            pool,
            self.codec.clone(),
            "1.2.3",
            handler,
        );
        let (stop, health) = (CancellationToken::new(), consumer.health());
        let task = tokio::spawn(consumer.run(stop.clone()));
        Running { health, stop, task }
    }

    pub(crate) async fn encode(&self, key: &str, text: &str) -> Vec<u8> {
        self.codec
            .encode(&Noted {
                key: key.into(),
                text: text.into(),
            })
            .await
            .unwrap()
    }

    /// Sends one note under a new event id.
    pub(crate) async fn note(&self, partition: i32, key: &str, text: &str) -> EventId {
        let id = EventId::new();
        self.note_as(&self.topic, partition, id, key, text).await;
        id
    }

    pub(crate) async fn note_as(
        &self,
        topic: &str,
        partition: i32,
        id: EventId,
        key: &str,
        text: &str,
    ) -> i64 {
        let value = self.encode(key, text).await;
        let (_, offset) = self
            .sender
            .send(
                topic,
                Some(partition),
                Some(key.as_bytes()),
                Some(&value),
                &with_id(id),
            )
            .await;
        offset
    }

    /// The texts of all effects, in the order in which they were written.
    pub(crate) async fn effects(&self) -> Vec<String> {
        sqlx::query_scalar("select text from effects order by at")
            .fetch_all(self.pool())
            .await
            .unwrap()
    }

    /// Waits until the effect with that text is there.
    pub(crate) async fn effect(&self, wanted: &str) {
        eventually(&format!("the effect {wanted}"), LONG, async || {
            self.effects()
                .await
                .iter()
                .any(|text| text == wanted)
                .then_some(())
        })
        .await;
    }

    /// The dead letters in the outbox, in order.
    pub(crate) async fn letters(&self) -> Vec<Row> {
        sqlx::query_as(
            "select event_id, topic, key, payload, headers from oncebox.outbox order by seq",
        )
        .fetch_all(self.pool())
        .await
        .unwrap()
    }

    /// Waits for that many dead letters.
    pub(crate) async fn dead(&self, count: usize) -> Vec<Row> {
        eventually(&format!("{count} dead letters"), LONG, async || {
            let letters = self.letters().await;
            (letters.len() >= count).then_some(letters)
        })
        .await
    }

    /// The offset that the broker keeps for the group.
    pub(crate) async fn committed(&self, partition: i32) -> Option<i64> {
        let group = self.settings.group_id();
        let topic = self.topic.clone();
        let ask = move || {
            let reader: BaseConsumer = oncebox::kafka::client_config(&testkit::kafka_address())
                .set("group.id", group)
                .create()
                .unwrap();
            let mut list = TopicPartitionList::new();
            list.add_partition(&topic, partition);
            let list = reader.committed_offsets(list, LONG).unwrap();
            list.elements()[0]
                .offset()
                .to_raw()
                .filter(|offset| *offset >= 0)
        };
        tokio::task::spawn_blocking(ask).await.unwrap()
    }

    pub(crate) async fn status(&self, id: EventId) -> Option<String> {
        sqlx::query_scalar("select status from oncebox.inbox where consumer = $1 and event_id = $2")
            .bind(GROUP)
            .bind(id.as_uuid())
            .fetch_optional(self.pool())
            .await
            .unwrap()
    }

    /// The counts of records with failed attempts, in place and parked.
    pub(crate) async fn attempts(&self) -> Vec<i32> {
        sqlx::query_scalar(
            r#"select attempts from (select topic, "partition", attempts from oncebox.attempts
                                     union all select topic, "partition", attempts from oncebox.parked_keys) as counts
               order by topic, "partition", attempts"#,
        )
        .fetch_all(self.pool())
        .await
        .unwrap()
    }

    /// Waits until so many effects are there, and returns all.
    pub(crate) async fn effects_of(&self, count: usize) -> Vec<String> {
        eventually(&format!("{count} effects"), LONG, async || {
            let effects = self.effects().await;
            (effects.len() >= count).then_some(effects)
        })
        .await
    }

    /// Waits until nothing is parked or counted any more.
    pub(crate) async fn settled(&self) {
        eventually("nothing parked", LONG, async || {
            self.attempts().await.is_empty().then_some(())
        })
        .await;
    }

    /// How many records were handled before an earlier one of their key, by the order of their effects.
    pub(crate) async fn reordered(&self) -> i64 {
        sqlx::query_scalar(
            "select count(*) from (select record_offset, lag(record_offset) over (partition by partition, key order by at) as before
             from effects) as pairs where record_offset <= before",
        )
        .fetch_one(self.pool())
        .await
        .unwrap()
    }

    pub(crate) fn parking(&self) -> Parking {
        Parking::new(self.pool().clone(), GROUP)
    }
}

/// A guard that never closes for failures, with slots for everything.
pub(crate) fn no_guard() -> FloodPolicy {
    FloodPolicy {
        successes_per_slot: 0,
        failing_records: 0,
        ..FloodPolicy::default()
    }
}

#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Row {
    pub event_id: uuid::Uuid,
    pub(crate) topic: String,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) payload: Option<Vec<u8>>,
    headers: serde_json::Value,
}

impl Row {
    pub(crate) fn headers(&self) -> Headers {
        Headers::from_json(&self.headers).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> String {
        let headers = self.headers();
        headers
            .get_str(name)
            .unwrap_or_else(|| panic!("no header {name} in {headers:?}"))
            .to_owned()
    }
}

pub(crate) fn with_id(id: EventId) -> Headers {
    let mut headers = Headers::new();
    headers.push("id", id.to_string());
    headers.push("ce_id", id.to_string());
    headers
}
