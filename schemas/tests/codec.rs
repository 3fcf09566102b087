//! Every event type through the codec and a real schema registry, and across versions.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use chrono::DateTime;
use oncebox::{Codec, DecodeError, Event, Message};
use schemas::inventory::{ReserveStock, Shortage, StockLine, StockRejected};
use schemas::order::{OrderCancelled, OrderLine, OrderPlaced};
use schemas::payment::{PaymentDeclined, PaymentVoided};
use schemas::{InventoryCommand, InventoryEvent, OrderEvent, PaymentEvent};
use uuid::Uuid;

fn codec() -> Codec {
    let registry = std::env::var("ONCEBOX_SCHEMA_REGISTRY")
        .expect("ONCEBOX_SCHEMA_REGISTRY: run through cargo dev test");
    Codec::new(&registry, None).unwrap()
}

fn placed() -> OrderPlaced {
    OrderPlaced {
        order_id: Uuid::now_v7(),
        customer_id: "customer-1".into(),
        lines: vec![OrderLine {
            product: "lamp".into(),
            quantity: 2,
            unit_price_minor: 1999,
        }],
        total_minor: 3998,
        currency: "EUR".into(),
        email: Some("someone@example.org".into()),
        placed_at: DateTime::from_timestamp_millis(1_700_000_000_123).unwrap(),
    }
}

async fn round_trip<E: Event + PartialEq + std::fmt::Debug>(codec: &Codec, event: E) {
    let bytes = codec.encode(&event).await.unwrap();
    assert_eq!(bytes[0], 0);
    assert_eq!(
        codec.open(Some(&bytes)).await.unwrap().read::<E>().unwrap(),
        event
    );
}

#[tokio::test]
async fn events_come_back_as_they_were() {
    let codec = codec();
    let order_id = Uuid::now_v7();
    round_trip(&codec, placed()).await;
    round_trip(
        &codec,
        OrderPlaced {
            email: None,
            lines: vec![],
            ..placed()
        },
    )
    .await;
    round_trip(
        &codec,
        StockRejected {
            order_id,
            shortages: vec![Shortage {
                product: "lamp".into(),
                wanted: 2,
                available: 0,
            }],
        },
    )
    .await;
    round_trip(
        &codec,
        ReserveStock {
            order_id,
            lines: vec![StockLine {
                product: "lamp".into(),
                quantity: 1,
            }],
        },
    )
    .await;
    round_trip(
        &codec,
        PaymentVoided {
            order_id,
            refunded: true,
        },
    )
    .await;
}

#[tokio::test]
async fn people_read_json() {
    let codec = codec();
    let event = placed();
    let json = codec
        .decode_json(Some(&codec.encode(&event).await.unwrap()))
        .await
        .unwrap();
    assert_eq!(json.name, OrderPlaced::TYPE);
    assert_eq!(json.json["lines"][0]["product"], "lamp");
    assert_eq!(json.json["order_id"], event.order_id.to_string());
    assert_eq!(json.json["placed_at"], 1_700_000_000_123_i64);
}

#[tokio::test]
async fn each_enum_reads_its_own_and_leaves_or_refuses_others() {
    let codec = codec();
    let order_id = Uuid::now_v7();
    let declined = PaymentDeclined {
        order_id,
        reason_code: "declined".into(),
        reason: "no".into(),
    };
    let bytes = codec.encode(&declined).await.unwrap();
    assert!(
        matches!(PaymentEvent::decode(&codec, Some(&bytes)).await, Ok(Some(PaymentEvent::PaymentDeclined(event))) if event == declined)
    );
    assert!(matches!(
        InventoryEvent::decode(&codec, Some(&bytes)).await,
        Ok(None)
    ));
    assert!(matches!(
        InventoryCommand::decode(&codec, Some(&bytes)).await,
        Err(DecodeError::UnknownType { .. })
    ));
}

#[tokio::test]
async fn wrong_bytes_are_told_apart() {
    let codec = codec();
    let good = codec.encode(&placed()).await.unwrap();
    let code =
        async |bytes: Option<&[u8]>| OrderEvent::decode(&codec, bytes).await.unwrap_err().code();
    assert_eq!(code(None).await, "decode.no_value");
    assert_eq!(code(Some(b"")).await, "decode.not_framed");
    assert_eq!(code(Some(b"{\"json\": true}")).await, "decode.not_framed");
    assert_eq!(code(Some(&good[..3])).await, "decode.truncated");
    assert_eq!(
        code(Some(&good[..good.len() - 4])).await,
        "decode.malformed"
    );
    assert_eq!(
        code(Some(&[good.as_slice(), b"rest"].concat())).await,
        "decode.malformed"
    );
    assert_eq!(
        code(Some(&[0, 0x7f, 0, 0, 1, 1])).await,
        "decode.unknown_schema"
    );
}

#[tokio::test]
async fn a_registry_that_is_away_is_an_outage_and_not_poison() {
    let away = Codec::new("http://127.0.0.1:9/apis/ccompat/v7", None).unwrap();
    let error = OrderEvent::decode(&away, Some(&[0, 0, 0, 0, 1, 1]))
        .await
        .unwrap_err();
    assert!(error.is_outage(), "{error}");
    assert_eq!(
        away.encode(&placed()).await.unwrap_err().code(),
        "registry.away"
    );
}

/// A later version of an event, written by a newer program.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct NewerCancelled {
    order_id: Uuid,
    customer_id: String,
    email: Option<String>,
    reason_code: String,
    reason: String,
    #[serde(with = "chrono::serde::ts_milliseconds")]
    cancelled_at: DateTime<chrono::Utc>,
    operator: Option<String>,
}

const NEWER: &str = r#"{"type":"record","name":"OrderCancelled","namespace":"oncebox.order","fields":[
  {"name":"order_id","type":{"type":"string","logicalType":"uuid"}},
  {"name":"customer_id","type":"string"},
  {"name":"email","type":["null","string"],"default":null},
  {"name":"reason_code","type":"string"},
  {"name":"reason","type":"string"},
  {"name":"cancelled_at","type":{"type":"long","logicalType":"timestamp-millis"}},
  {"name":"operator","type":["null","string"],"default":null}]}"#;

oncebox::event! {
    NewerCancelled = "oncebox.order.OrderCancelled" on "schemas-test.events" keyed by |event| event.order_id.to_string(),
    schema NEWER
}

#[tokio::test]
async fn old_and_new_programs_read_each_other() {
    let codec = codec();
    let order_id = Uuid::now_v7();
    let at = DateTime::from_timestamp_millis(1_700_000_000_000).unwrap();
    let newer = NewerCancelled {
        order_id,
        customer_id: "c".into(),
        email: Some("a@b.c".into()),
        reason_code: "timeout".into(),
        reason: "r".into(),
        cancelled_at: at,
        operator: Some("o".into()),
    };
    let bytes = codec.encode(&newer).await.unwrap();
    let read_by_old: OrderCancelled = codec.open(Some(&bytes)).await.unwrap().read().unwrap();
    assert_eq!(
        (
            read_by_old.order_id,
            read_by_old.cancelled_at,
            read_by_old.email
        ),
        (order_id, at, Some("a@b.c".into()))
    );

    let older = self::codec();
    let old = OrderCancelled {
        order_id,
        customer_id: "c".into(),
        email: None,
        reason_code: "x".into(),
        reason: "y".into(),
        cancelled_at: at,
    };
    let bytes = older.encode(&old).await.unwrap();
    let read_by_new: NewerCancelled = codec.open(Some(&bytes)).await.unwrap().read().unwrap();
    assert_eq!(
        (
            read_by_new.order_id,
            read_by_new.cancelled_at,
            read_by_new.operator
        ),
        (order_id, at, None)
    );
}

#[tokio::test]
async fn programs_that_start_at_once_all_set_a_new_subject_up() {
    let registry = codec().registry().clone();
    for _ in 0..10 {
        let subject = format!("race-{}", Uuid::now_v7());
        let mut starting = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (registry, subject) = (registry.clone(), subject.clone());
            starting.spawn(async move {
                registry
                    .set_compatibility(&subject, "FULL_TRANSITIVE")
                    .await?;
                registry.register(&subject, OrderPlaced::SCHEMA).await
            });
        }
        let ids: Vec<u32> = starting
            .join_all()
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
    }
}
