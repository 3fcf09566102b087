//! Records of other producers, and consumers that do not decode: raw mode, patterns, identity by offset.

use async_trait::async_trait;
use oncebox::{
    Consumer, ConsumerSettings, Delivery, Each, EventId, Failure, Handler, Headers, Identity, Raw,
};
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use crate::rig::{Rig, with_id};
use crate::script::Scripted;

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_are_no_uuids_deduplicate_within_their_source() {
    let rig = Rig::new("foreign", 1).await;
    for (source, id, text) in [
        ("/a", "1", "a1"),
        ("/a", "1", "a1 again"),
        ("/b", "1", "b1"),
        ("/a", "2", "a2"),
    ] {
        let mut headers = Headers::new();
        headers.push("ce_source", source);
        headers.push("ce_id", id);
        let value = rig.encode("k", text).await;
        rig.sender
            .send(&rig.topic, Some(0), Some(b"k"), Some(&value), &headers)
            .await;
    }
    let value = rig.encode("k", "no id").await;
    rig.sender
        .send(&rig.topic, Some(0), None, Some(&value), &Headers::new())
        .await;
    let consumer = rig.start(&Scripted::succeed());
    rig.effect("no id").await;
    consumer.stop().await;
    assert_eq!(rig.effects().await, ["a1", "b1", "a2", "no id"]);
}

/// Keeps every record as it is.
struct Keep;

#[async_trait]
impl Handler for Keep {
    type Message = Raw;

    async fn handle(&self, tx: &mut PgConnection, delivery: &Delivery<Raw>) -> Result<(), Failure> {
        let value = delivery
            .record
            .value
            .as_deref()
            .map(String::from_utf8_lossy);
        sqlx::query(
            "insert into effects (event_id, text, partition, record_offset) values ($1, $2, 0, $3)",
        )
        .bind(delivery.event_id.as_uuid())
        .bind(format!(
            "{}: {}",
            delivery.record.topic,
            value.unwrap_or_default()
        ))
        .bind(delivery.record.offset)
        .execute(tx)
        .await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_finds_topics_and_the_offset_is_the_identity() {
    let rig = Rig::new("pattern", 1).await;
    let prefix = &rig.settings.topic_prefix;
    let (first, second) = (format!("{prefix}a.g.dlq"), format!("{prefix}b.g.dlq"));
    testkit::kafka::create_topics(&[&first], 1).await;
    let mut settings = ConsumerSettings::new(testkit::kafka_address(), "index", [r"^.*\.dlq$"]);
    settings.topic_prefix = prefix.clone();
    settings.identity = Identity::Offset;
    settings
        .kafka
        .insert("topic.metadata.refresh.interval.ms".into(), "500".into());
    let consumer = Consumer::new(
        settings,
        rig.pool().clone(),
        rig.codec.clone(),
        "1",
        Each(Keep),
    );
    let stop = CancellationToken::new();
    let running = tokio::spawn(consumer.run(stop.clone()));

    // One event may be a dead letter several times; each is kept.
    let headers = with_id(EventId::new());
    for value in ["one", "two"] {
        rig.sender
            .send(&first, Some(0), None, Some(value.as_bytes()), &headers)
            .await;
    }
    rig.effect(&format!("{first}: two")).await;
    testkit::kafka::create_topics(&[&second], 1).await;
    rig.sender
        .send(&second, Some(0), None, Some(b"three"), &headers)
        .await;
    rig.effect(&format!("{second}: three")).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(
        rig.effects().await.len(),
        3,
        "topics that do not match are not read"
    );
}
