//! Guarantee G7: bytes that cannot be decoded are kept as they are, and the next record is processed.

use oncebox::{EventId, Headers, dead_letter};

use crate::rig::{GROUP, Rig};
use crate::script::Scripted;

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_poison_is_kept_byte_for_byte() {
    let rig = Rig::new("poison", 1).await;
    let good = rig.encode("k", "good").await;
    let mut malformed = good.clone();
    malformed.truncate(good.len() - 2);
    let mut unknown = good.clone();
    unknown[1..5].copy_from_slice(&0x3fff_fff0_u32.to_be_bytes());
    let mut trailing = good.clone();
    trailing.extend_from_slice(b"rest");
    let kinds: Vec<(&str, Option<Vec<u8>>)> = vec![
        ("decode.not_framed", Some(b"{\"not\": \"avro\"}".to_vec())),
        ("decode.not_framed", Some(vec![])),
        ("decode.truncated", Some(vec![0, 0, 1])),
        ("decode.unknown_schema", Some(unknown)),
        ("decode.malformed", Some(malformed)),
        ("decode.malformed", Some(trailing)),
        ("decode.no_value", None),
    ];
    let mut headers = Headers::new();
    headers.push("mine", vec![0xff, 0x00, 0x01]);
    headers.push("mine", "again");
    headers.push_raw("empty", None);
    for (_, value) in &kinds {
        rig.sender
            .send(
                &rig.topic,
                Some(0),
                Some(b"\xfe key"),
                value.as_deref(),
                &headers,
            )
            .await;
    }
    rig.note(0, "k", "after the poison").await;

    let consumer = rig.start(&Scripted::succeed());
    rig.effect("after the poison").await;
    let letters = rig.dead(kinds.len()).await;
    consumer.stop().await;

    assert_eq!(letters.len(), kinds.len());
    for (offset, (letter, (code, value))) in letters.iter().zip(&kinds).enumerate() {
        assert_eq!(letter.topic, dead_letter::topic(&rig.topic, GROUP));
        assert_eq!(&letter.payload, value, "{code}");
        assert_eq!(letter.key.as_deref(), Some(&b"\xfe key"[..]));
        assert_eq!(letter.header("oncebox-error-code"), *code);
        assert_eq!(letter.header("oncebox-error-class"), "poison");
        assert_eq!(letter.header("__dlq.errors.topic"), rig.topic);
        assert_eq!(letter.header("__dlq.errors.partition"), "0");
        assert_eq!(letter.header("__dlq.errors.offset"), offset.to_string());
        assert_eq!(letter.header("__dlq.errors.group"), GROUP);
        assert_eq!(letter.header("__dlq.errors.delivery.count"), "1");
        assert_eq!(letter.header("oncebox-service-version"), "1.2.3");
        let kept = letter.headers();
        let mine: Vec<_> = kept
            .iter()
            .filter(|(name, _)| *name == "mine")
            .map(|(_, value)| value.unwrap())
            .collect();
        assert_eq!(mine, [&[0xff, 0x00, 0x01][..], b"again"]);
        assert!(kept.iter().any(|header| header == ("empty", None)));
    }
    assert_eq!(rig.effects().await, ["after the poison"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_that_is_delivered_again_is_one_dead_letter() {
    let mut rig = Rig::new("poison_again", 1).await;
    rig.sender
        .send(&rig.topic, Some(0), None, Some(b"garbage"), &Headers::new())
        .await;
    for round in 0..2 {
        let group = format!("{}round{round}", rig.settings.topic_prefix);
        rig.settings.kafka.insert("group.id".into(), group);
        let consumer = rig.start(&Scripted::succeed());
        rig.note(0, "k", &format!("end-{round}")).await;
        rig.effect(&format!("end-{round}")).await;
        consumer.stop().await;
    }
    assert_eq!(rig.letters().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_does_not_stand_in_for_the_healthy_record_of_the_same_id() {
    let rig = Rig::new("poison_id", 1).await;
    let id = EventId::new();
    rig.sender
        .send(
            &rig.topic,
            Some(0),
            None,
            Some(b"garbage"),
            &crate::rig::with_id(id),
        )
        .await;
    rig.note_as(&rig.topic, 0, id, "k", "healthy").await;
    let consumer = rig.start(&Scripted::succeed());
    rig.effect("healthy").await;
    consumer.stop().await;
    assert_eq!(rig.letters().await.len(), 1);
    assert_eq!(rig.status(id).await.as_deref(), Some("processed"));
}

/// The topic carries an event type that this consumer must not ignore.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Unheard {
    key: String,
}

oncebox::event! {
    Unheard = "kit.consumer.Unheard" on "kit-consumer.notes" keyed by |event| event.key.clone(),
    schema r#"{"type":"record","name":"Unheard","namespace":"kit.consumer","fields":[{"name":"key","type":"string"}]}"#
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_type_is_kept_for_a_consumer_that_may_not_ignore_it() {
    let rig = Rig::new("unknown_type", 1).await;
    let value = rig
        .codec
        .encode(&Unheard { key: "k".into() })
        .await
        .unwrap();
    rig.sender
        .send(&rig.topic, Some(0), None, Some(&value), &Headers::new())
        .await;
    let consumer = rig.start(&Scripted::succeed());
    let letters = rig.dead(1).await;
    consumer.stop().await;
    assert_eq!(
        letters[0].header("oncebox-error-code"),
        "decode.unknown_type"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_near_the_brokers_limit_fits_as_a_dead_letter() {
    let rig = Rig::new("large", 1).await;
    let (key, value) = (vec![b'k'; 300_000], vec![0xff; 300_000]);
    let mut headers = Headers::new();
    headers.push("large", vec![0xfe; 300_000]);
    headers.push("nul", "a\0b");
    rig.sender
        .send(&rig.topic, Some(0), Some(&key), Some(&value), &headers)
        .await;
    let consumer = rig.start(&Scripted::succeed());
    let letters = rig.dead(1).await;
    consumer.stop().await;
    assert_eq!(
        (letters[0].key.as_ref(), letters[0].payload.as_ref()),
        (Some(&key), Some(&value))
    );
    assert_eq!(letters[0].headers().get("large"), headers.get("large"));
    assert_eq!(letters[0].header("nul"), "a\0b");
}
