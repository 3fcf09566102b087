//! Records that nobody can read: kept byte for byte with their headers, and the next record goes on.

use std::time::Duration;

use crate::shared;
use e2e::client::{one_line, product};
use oncebox::Headers;
use uuid::Uuid;

#[test]
fn poison_is_kept_byte_for_byte_and_the_next_record_is_processed() {
    shared(async |pipeline, client| {
        let topic = pipeline.topic("inventory.commands");
        let sender = testkit::kafka::Sender::new();
        let lamp = product("after-poison");
        client.stock(&lamp, 5).await;
        // Bytes that are valid framing of a registered schema and end too early.
        let codec = oncebox::Codec::new(&testkit::registry_address(), None).unwrap();
        let command = schemas::inventory::ReleaseStock {
            order_id: Uuid::now_v7(),
            reason: "poison".into(),
        };
        let framed = codec.encode(&command).await.unwrap();
        let poisons: [(&str, &str, Vec<u8>); 4] = [
            (
                "not Avro",
                "decode.not_framed",
                b"{\"json\": true}".to_vec(),
            ),
            (
                "wrong magic byte",
                "decode.not_framed",
                [&[7], &framed[1..]].concat(),
            ),
            (
                "unknown schema id",
                "decode.unknown_schema",
                vec![0, 0x7f, 0xff, 0xff, 0xfe, 1, 2, 3],
            ),
            (
                "truncated",
                "decode.malformed",
                framed[..framed.len() - 3].to_vec(),
            ),
        ];
        for (what, code, bytes) in poisons {
            let key = format!("poison-{}", Uuid::now_v7());
            let mut headers = Headers::new();
            headers.push("who", what);
            headers.push("binary", vec![0, 159, 146, 150]);
            headers.push("twice", "one");
            headers.push("twice", "two");
            headers.push_raw("empty", None);
            let (partition, offset) = sender
                .send(&topic, None, Some(key.as_bytes()), Some(&bytes), &headers)
                .await;
            // The next record of the very same partition.
            let order_id = Uuid::now_v7();
            let lines = vec![schemas::inventory::StockLine {
                product: lamp.clone(),
                quantity: 1,
            }];
            let next = codec
                .encode(&schemas::inventory::ReserveStock { order_id, lines })
                .await
                .unwrap();
            let mut next_headers = Headers::new();
            next_headers.push("id", Uuid::now_v7().to_string());
            sender
                .send(
                    &topic,
                    Some(partition),
                    Some(order_id.to_string().as_bytes()),
                    Some(&next),
                    &next_headers,
                )
                .await;
            testkit::eventually(
                &format!("the record after {what}"),
                e2e::client::PATIENCE,
                async || {
                    (client.reservation(&order_id.to_string()).await["status"] == "reserved")
                        .then_some(())
                },
            )
            .await;

            let dlq = format!("{topic}.inventory.dlq");
            let letter = testkit::eventually(
                &format!("the dead letter of {what}"),
                Duration::from_secs(30),
                async || {
                    testkit::kafka::read_committed(&dlq)
                        .await
                        .into_iter()
                        .find(|record| record.key.as_deref() == Some(key.as_bytes()))
                },
            )
            .await;
            assert_eq!(
                letter.value.as_deref(),
                Some(bytes.as_slice()),
                "{what}: byte for byte"
            );
            let kept: Vec<_> = letter.headers.iter().collect();
            let mut wanted: Vec<_> = headers.iter().collect();
            wanted.sort();
            let mut originals: Vec<_> = kept
                .into_iter()
                .filter(|(name, _)| headers.iter().any(|(own, _)| own == *name))
                .collect();
            originals.sort();
            assert_eq!(originals, wanted, "{what}: every original header");
            let header = |name: &str| letter.headers.get_str(name).unwrap_or_default().to_owned();
            assert_eq!(header("__dlq.errors.topic"), topic);
            assert_eq!(header("__dlq.errors.partition"), partition.to_string());
            assert_eq!(header("__dlq.errors.offset"), offset.to_string());
            assert_eq!(header("oncebox-error-class"), "poison", "{what}");
            assert_eq!(header("oncebox-error-code"), code, "{what}");
            // And the operator sees it.
            let shown = client.dead_letter(&dlq, &key).await;
            assert_eq!(shown["error_code"], code);
        }
    });
}

#[test]
fn an_order_goes_through_beside_poison() {
    shared(async |_, client| {
        let lamp = product("beside");
        client.stock(&lamp, 1).await;
        let order = client.submit(&one_line(&lamp, 1, "tok_approved")).await;
        assert_eq!(client.settled(&order).await["verdict"], "confirmed");
    });
}
