//! Dead letters from a real broker into the index, and replays out of it, byte for byte.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

#[path = "support/replayer.rs"]
mod support;

use oncebox::Headers;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::Row as _;
use support::{Replayer, SOON, by_ids, ids, own_headers, problem};

const EVENT: &str = "0199b0f4-6c1e-7e30-8f3a-3a7a7a0f6f11";

#[tokio::test]
async fn a_dead_letter_is_indexed_and_shown_with_its_reason() {
    let replayer = Replayer::start().await;
    replayer.create_group_topics("payment").await;
    let mut own = own_headers(EVENT);
    own.push("binary", vec![0x00, 0xff]);
    own.push("twice", "one");
    own.push("twice", "two");
    own.push_raw("empty", None);
    let (partition, offset) = replayer
        .dead_letter("payment", "order-1", Some(b"\xde\xad not avro"), &own)
        .await;

    let letter = &replayer.indexed("payment", 1).await[0];
    assert_eq!(letter["event_id"], EVENT);
    assert_eq!(letter["status"], "open");
    assert_eq!(letter["key"], "order-1");
    assert_eq!(letter["error_code"], "payment.merchant_account_missing");
    assert_eq!(letter["attempts"], 6);
    assert_eq!(
        (letter["partition"].as_i64(), letter["offset"].as_i64()),
        (Some(partition.into()), Some(offset))
    );

    let detail = replayer
        .get(&format!("/v1/dlq/letters/{}", letter["id"]))
        .await;
    assert_eq!(detail["source_topic"], replayer.source());
    assert_eq!(detail["source_offset"], 7);
    assert_eq!(detail["replay_topic"], replayer.replay("payment"));
    assert_eq!(detail["first_failed_at"], "2026-01-31T08:00:00Z");
    let value = &detail["value"];
    assert_eq!(
        (value["encoding"].as_str(), value["code"].as_str()),
        (Some("raw"), Some("decode.not_framed"))
    );
    assert_eq!(value["hex"], hex::encode(b"\xde\xad not avro"));
    assert_eq!(value["base64"], "3q0gbm90IGF2cm8=");
    let headers = detail["headers"].as_array().unwrap();
    let values = |name: &str| -> Vec<&Value> {
        headers
            .iter()
            .filter(|header| header["name"] == name)
            .map(|header| &header["value"])
            .collect()
    };
    assert_eq!(values("twice"), [&json!("one"), &json!("two")]);
    assert_eq!(
        values("binary"),
        [&json!({"base64": "AP8=", "hex": "00ff"})]
    );
    assert_eq!(values("empty"), [&Value::Null]);
    assert!(values("__dlq.errors.topic").is_empty());
    assert!(
        detail["error_headers"]
            .as_array()
            .unwrap()
            .iter()
            .any(|header| header["name"] == "__dlq.errors.topic")
    );

    let topics = replayer.get("/v1/dlq/topics").await;
    let topic = &topics["items"][0];
    assert_eq!(topic["topic"], replayer.dlq("payment"));
    assert_eq!(
        (topic["open"].as_i64(), topic["replayed"].as_i64()),
        (Some(1), Some(0))
    );
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Noted {
    id: String,
}

oncebox::event! {
    Noted = "replayer.test.Noted" on "replayer-test.notes" keyed by |event| event.id.clone(),
    schema r#"{"type":"record","name":"Noted","namespace":"replayer.test","fields":[{"name":"id","type":"string"}]}"#
}

#[tokio::test]
async fn values_are_decoded_through_the_registry_here_and_in_any_topic() {
    let replayer = Replayer::start().await;
    replayer.create_group_topics("payment").await;
    testkit::kafka::create_topics(&[&replayer.source()], 1).await;
    let codec = oncebox::Codec::new(&testkit::registry_address(), None).unwrap();
    let note = Noted { id: "n-1".into() };
    let value = codec.encode(&note).await.unwrap();
    replayer
        .dead_letter("payment", "n-1", Some(&value), &own_headers(EVENT))
        .await;
    replayer
        .sender
        .send(
            &replayer.source(),
            None,
            Some(b"n-1"),
            Some(&value),
            &Headers::new(),
        )
        .await;

    let id = ids(&replayer.indexed("payment", 1).await)[0];
    let detail = replayer.get(&format!("/v1/dlq/letters/{id}")).await;
    let records = replayer
        .get(&format!(
            "/v1/topics/{}/records?from=earliest",
            replayer.source()
        ))
        .await;
    for shown in [&detail["value"], &records["items"][0]["value"]] {
        assert_eq!(shown["encoding"], "avro", "{shown}");
        assert_eq!(shown["type"], "replayer.test.Noted");
        assert_eq!(shown["json"], json!({"id": "n-1"}));
    }
}

#[tokio::test]
async fn a_replay_that_failed_again_is_found_from_both_sides() {
    let replayer = Replayer::start().await;
    replayer.create_group_topics("payment").await;
    let (partition, offset) = replayer
        .dead_letter("payment", "k", Some(b"x"), &own_headers(EVENT))
        .await;
    let first = ids(&replayer.indexed("payment", 1).await)[0];
    let (status, _) = replayer.post("/v1/dlq/replays", by_ids(&[first])).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let mut headers = own_headers(EVENT);
    let replay_of = format!("{}/{partition}/{offset}", replayer.dlq("payment"));
    headers.push("oncebox-replay-of", replay_of.as_str());
    headers.push("oncebox-replay-count", "1");
    replayer
        .dead_letter("payment", "k", Some(b"x"), &headers)
        .await;
    let second = ids(&replayer.indexed("payment", 2).await)[1];

    let detail = replayer.get(&format!("/v1/dlq/letters/{first}")).await;
    assert_eq!(detail["failed_again_as"], json!([second]));
    let detail = replayer.get(&format!("/v1/dlq/letters/{second}")).await;
    assert_eq!(
        (&detail["replay_of"], &detail["prior_replays"]),
        (&json!(replay_of), &json!(1))
    );
    let (status, _) = replayer.post("/v1/dlq/replays", by_ids(&[second])).await;
    assert_eq!(
        status,
        StatusCode::ACCEPTED,
        "a letter that failed again is a new letter, and open"
    );
    let headers: Value = replayer
        .scalar("select headers from oncebox.outbox order by seq desc limit 1")
        .await;
    assert_eq!(headers["oncebox-replay-count"], "2");
    assert!(
        headers["oncebox-replay-of"].is_string(),
        "one origin, not the old one too: {headers}"
    );
}

#[tokio::test]
async fn a_topic_that_is_made_later_is_noticed() {
    let replayer = Replayer::start().await;
    replayer.create_group_topics("first").await;
    replayer
        .dead_letter("first", "k", Some(b"x"), &Headers::new())
        .await;
    replayer.indexed("first", 1).await;
    replayer.create_group_topics("second").await;
    replayer
        .dead_letter("second", "k", None, &Headers::new())
        .await;
    let letter = &replayer.indexed("second", 1).await[0];
    let detail = replayer
        .get(&format!("/v1/dlq/letters/{}", letter["id"]))
        .await;
    assert_eq!(
        detail["value"],
        json!({"encoding": "none"}),
        "a tombstone is no empty value"
    );
}

#[tokio::test]
async fn what_is_read_again_changes_nothing() {
    let replayer = Replayer::start().await;
    replayer.create_group_topics("payment").await;
    for number in 0..20 {
        replayer
            .dead_letter(
                "payment",
                &format!("k{number}"),
                Some(b"x"),
                &Headers::new(),
            )
            .await;
    }
    let before = replayer.indexed("payment", 20).await;
    let (status, _) = replayer
        .post("/v1/dlq/replays", by_ids(&ids(&before)[..1]))
        .await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let before = replayer.indexed("payment", 20).await;

    // Another group of the same replayer starts at the beginning of every topic.
    let mut settings = replayer.settings.clone();
    settings.group = "reads-again".into();
    let shutdown = tokio_util::sync::CancellationToken::new();
    let second = dlq_replayer::start(settings, shutdown.clone())
        .await
        .unwrap();
    let second = tokio::spawn(second.wait());
    let marker = replayer.dlq("payment");
    replayer
        .sender
        .send(&marker, Some(0), None, Some(b"marker"), &Headers::new())
        .await;
    replayer
        .sender
        .send(&marker, Some(1), None, Some(b"marker"), &Headers::new())
        .await;
    let inspector =
        dlq_replayer::inspect::Inspector::new(&testkit::kafka_address(), SOON, &Default::default())
            .unwrap();
    let group = format!("{}reads-again", replayer.prefix);
    testkit::eventually("the second reader to reach the end", SOON, async || {
        let detail = inspector.group(group.clone()).await.ok()?;
        let partitions: Vec<_> = detail
            .partitions
            .iter()
            .filter(|partition| partition.topic == marker)
            .collect();
        (partitions.len() == 2 && partitions.iter().all(|partition| partition.lag == Some(0)))
            .then_some(())
    })
    .await;
    assert_eq!(
        replayer.indexed("payment", 20).await,
        before,
        "neither twice nor open again"
    );
    shutdown.cancel();
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_replay_is_the_record_byte_for_byte_in_one_transaction_with_its_audit() {
    let replayer = Replayer::start().await;
    replayer.create_group_topics("payment").await;
    let mut own = own_headers(EVENT);
    own.push("binary", vec![0x00, 0xff]);
    own.push("twice", "one");
    own.push("twice", "two");
    own.push("oncebox-correlation-id", "c-1");
    let value = b"\x00\x00\x00\x00\x2a\xff\xfe";
    let (partition, offset) = replayer
        .dead_letter("payment", "order-1", Some(value), &own)
        .await;
    let id = ids(&replayer.indexed("payment", 1).await)[0];

    let body = json!({"reason": "merchant account added", "actor": "kim"});
    let (status, answer) = replayer
        .post(&format!("/v1/dlq/letters/{id}/replay"), body)
        .await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    assert_eq!(
        (&answer["replayed"], &answer["ids"]),
        (&json!(1), &json!([id]))
    );

    let row = sqlx::query("select event_id, topic, key, payload, headers from oncebox.outbox")
        .fetch_one(replayer.database.pool())
        .await
        .unwrap();
    assert_eq!(row.get::<uuid::Uuid, _>("event_id").to_string(), EVENT);
    assert_eq!(row.get::<String, _>("topic"), replayer.replay("payment"));
    assert_eq!(row.get::<Vec<u8>, _>("key"), b"order-1");
    assert_eq!(row.get::<Vec<u8>, _>("payload"), value);
    let headers = row.get::<Value, _>("headers");
    let mut expected = own.clone();
    expected.push(
        "oncebox-replay-of",
        format!("{}/{partition}/{offset}", replayer.dlq("payment")),
    );
    expected.push("oncebox-replay-count", "1");
    expected.push("oncebox-replay-group", "payment");
    expected.push("oncebox-replay-actor", "kim");
    expected.push("oncebox-replay-id", answer["replay"].as_str().unwrap());
    assert_eq!(
        headers,
        expected.to_json(),
        "the author's headers, the replay's, and none of the failure"
    );

    let detail = replayer.get(&format!("/v1/dlq/letters/{id}")).await;
    assert_eq!(
        (&detail["status"], &detail["replay_count"]),
        (&json!("replayed"), &json!(1))
    );
    let history = &detail["replays"][0];
    assert_eq!(
        (&history["actor"], &history["reason"]),
        (&json!("kim"), &json!("merchant account added"))
    );
    let audit = replayer.get("/v1/dlq/replays").await;
    assert_eq!(audit["items"][0]["selection"]["ids"], json!([id]));

    let again = replayer
        .ask(Method::POST, &format!("/v1/dlq/letters/{id}/replay"), None)
        .await;
    assert_eq!(problem(&again), (409, "dlq.already_replayed"));
    assert_eq!(
        replayer
            .scalar::<i64>("select count(*) from oncebox.outbox")
            .await,
        1
    );
    let (status, _) = replayer
        .post(
            &format!("/v1/dlq/letters/{id}/replay"),
            json!({"again": true}),
        )
        .await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let count: String = replayer
        .scalar(
            "select headers->>'oncebox-replay-count' from oncebox.outbox order by seq desc limit 1",
        )
        .await;
    assert_eq!(count, "2", "the loop guard counts on");

    let forced =
        "select headers->>'oncebox-replay-forced' from oncebox.outbox order by seq desc limit 1";
    assert_eq!(replayer.scalar::<Option<String>>(forced).await, None);
    let (status, _) = replayer
        .post(
            &format!("/v1/dlq/letters/{id}/replay"),
            json!({"again": true, "force": true, "reason": "known to be unhandled"}),
        )
        .await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(
        replayer.scalar::<Option<String>>(forced).await.as_deref(),
        Some("true")
    );
    let audit = replayer.get("/v1/dlq/replays").await;
    assert_eq!(audit["items"][0]["selection"]["force"], json!(true));
    assert_eq!(audit["items"][1]["selection"]["force"], json!(false));
}

#[tokio::test]
async fn all_up_to_now_leaves_out_what_comes_later_and_other_groups() {
    let replayer = Replayer::start().await;
    for group in ["payment", "mail"] {
        replayer.create_group_topics(group).await;
        for number in 0..30 {
            replayer
                .dead_letter(
                    group,
                    &format!("k{}", number % 3),
                    Some(&[number]),
                    &Headers::new(),
                )
                .await;
        }
        replayer.indexed(group, 30).await;
    }
    let dry = json!({"group": "payment", "dry_run": true});
    let (status, planned) = replayer.post("/v1/dlq/replays", dry).await;
    assert_eq!((status, &planned["replayed"]), (StatusCode::OK, &json!(30)));
    assert_eq!(
        replayer
            .scalar::<i64>("select count(*) from oncebox.outbox")
            .await,
        0,
        "a dry run does nothing"
    );

    let (status, answer) = replayer
        .post("/v1/dlq/replays", json!({"group": "payment"}))
        .await;
    assert_eq!(
        (status, &answer["replayed"]),
        (StatusCode::ACCEPTED, &json!(30))
    );
    replayer
        .dead_letter("payment", "late", Some(b"late"), &Headers::new())
        .await;
    let letters = replayer.indexed("payment", 31).await;
    assert_eq!(letters[30]["status"], "open");
    assert!(
        letters[..30]
            .iter()
            .all(|letter| letter["status"] == "replayed")
    );
    let mail = replayer.indexed("mail", 30).await;
    assert!(
        mail.iter().all(|letter| letter["status"] == "open"),
        "another group's letters are no business of this replay"
    );

    let rows: Vec<(Vec<u8>, Vec<u8>)> =
        sqlx::query_as("select key, payload from oncebox.outbox order by seq")
            .fetch_all(replayer.database.pool())
            .await
            .unwrap();
    assert_eq!(rows.len(), 30);
    for key in [b"k0", b"k1", b"k2"] {
        let values: Vec<u8> = rows
            .iter()
            .filter(|(found, _)| found == key)
            .map(|(_, value)| value[0])
            .collect();
        assert!(
            values.is_sorted() && values.len() == 10,
            "records of a key keep their order: {values:?}"
        );
    }

    let (_, rest) = replayer
        .post(
            "/v1/dlq/replays",
            json!({"topic": replayer.dlq("mail"), "limit": 12}),
        )
        .await;
    assert_eq!(
        (&rest["replayed"], &rest["remaining"]),
        (&json!(12), &json!(18))
    );
    let (status, none) = replayer
        .post("/v1/dlq/replays", json!({"group": "nobody"}))
        .await;
    assert_eq!(
        (status, &none["replayed"], &none["replay"]),
        (StatusCode::OK, &json!(0), &Value::Null)
    );
}

#[tokio::test]
async fn replays_at_once_take_each_letter_once() {
    let replayer = Replayer::start().await;
    replayer.create_group_topics("payment").await;
    for number in 0..40 {
        replayer
            .dead_letter("payment", &number.to_string(), Some(b"x"), &Headers::new())
            .await;
    }
    replayer.indexed("payment", 40).await;
    let asking = (0..8).map(|_| replayer.post("/v1/dlq/replays", json!({"group": "payment"})));
    let answers = futures::future::join_all(asking).await;
    let replayed: u64 = answers
        .iter()
        .map(|(_, answer)| answer["replayed"].as_u64().unwrap())
        .sum();
    assert_eq!(replayed, 40, "{answers:?}");
    assert_eq!(
        replayer
            .scalar::<i64>("select count(*) from oncebox.outbox")
            .await,
        40
    );
}

#[tokio::test]
async fn a_replay_that_cannot_arrive_is_refused() {
    let replayer = Replayer::start().await;
    testkit::kafka::create_topics(&[&replayer.dlq("gone")], 1).await;
    replayer
        .dead_letter("gone", "k", Some(b"x"), &Headers::new())
        .await;
    // Nothing tells where this one came from.
    replayer
        .sender
        .send(
            &replayer.dlq("gone"),
            None,
            None,
            Some(b"x"),
            &Headers::new(),
        )
        .await;
    let path = format!("/v1/dlq/letters?topic={}", replayer.dlq("gone"));
    let letters = testkit::eventually("both letters", SOON, async || {
        let items = replayer.get(&path).await["items"]
            .as_array()
            .unwrap()
            .clone();
        (items.len() == 2).then_some(items)
    })
    .await;
    let of = |group: bool| {
        letters
            .iter()
            .find(|letter| letter["group"].is_string() == group)
            .unwrap()["id"]
            .as_i64()
            .unwrap()
    };
    let no_topic = replayer.post("/v1/dlq/replays", by_ids(&[of(true)])).await;
    assert_eq!(problem(&no_topic), (409, "dlq.no_replay_topic"));
    let no_source = replayer.post("/v1/dlq/replays", by_ids(&[of(false)])).await;
    assert_eq!(problem(&no_source), (409, "dlq.not_replayable"));
    let (_, all) = replayer
        .post("/v1/dlq/replays", json!({"topic": replayer.dlq("gone")}))
        .await;
    assert_eq!(all["skipped"].as_object().unwrap().len(), 2, "{all}");
    let unknown = replayer
        .post("/v1/dlq/replays", by_ids(&[of(true), 999_999]))
        .await;
    assert_eq!(problem(&unknown), (404, "dlq.letter_unknown"));
    assert_eq!(
        replayer
            .scalar::<i64>("select count(*) from oncebox.outbox")
            .await,
        0
    );
}

#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    let replayer = Replayer::start().await;
    for (body, pointer) in [
        (json!({}), ""),
        (json!({"ids": []}), "/ids"),
        (json!({"ids": [1], "topic": "t"}), "/ids"),
        (json!({"group": "g", "limit": 0}), "/limit"),
        (json!({"group": "g", "actor": " "}), "/actor"),
        (json!({"group": "g", "reason": "nul\u{0}"}), "/reason"),
        (json!({"grupo": "g"}), "/grupo"),
    ] {
        let answer = replayer.post("/v1/dlq/replays", body.clone()).await;
        assert_eq!(
            problem(&answer),
            (422, "request.invalid"),
            "{body}: {answer:?}"
        );
        let errors = answer.1["errors"].as_array().unwrap();
        assert!(
            errors.iter().any(|error| error["pointer"] == pointer),
            "{body}: {errors:?}"
        );
    }
    for path in [
        "/v1/dlq/letters?status=closed",
        "/v1/dlq/letters?group=%00",
        "/v1/dlq/letters?event_id=1",
        "/v1/dlq/letters?gruop=x",
        "/v1/topics/t/records?from=yesterday",
        "/v1/topics/t/find?key=a&event_id=b",
        "/v1/topics/t/find",
    ] {
        let answer = replayer.ask(Method::GET, path, None).await;
        assert_eq!(
            problem(&answer),
            (400, "request.query_invalid"),
            "{path}: {answer:?}"
        );
    }
    let missing = replayer.ask(Method::GET, "/v1/dlq/letters/1", None).await;
    assert_eq!(problem(&missing), (404, "dlq.letter_unknown"));
    let topic = replayer
        .ask(Method::GET, "/v1/topics/no-such-topic/records", None)
        .await;
    assert_eq!(problem(&topic), (404, "kafka.unknown_topic"));
}

#[tokio::test]
async fn nothing_opens_without_the_token_but_health_and_documents() {
    let replayer = Replayer::start().await;
    let client = reqwest::Client::new();
    let document = replayer.get("/openapi.json").await;
    let mut guarded = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let path = path
            .replace("{id}", "1")
            .replace("{topic}", "t")
            .replace("{group}", "g");
        for method in operations.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            for token in [None, Some("wrong")] {
                let mut request = client.request(method.clone(), format!("{}{path}", replayer.url));
                if let Some(token) = token {
                    request = request.bearer_auth(token);
                }
                let response = request.send().await.unwrap();
                assert_eq!(
                    response.status(),
                    StatusCode::UNAUTHORIZED,
                    "{method} {path}"
                );
                assert_eq!(
                    response.headers()["content-type"],
                    "application/problem+json"
                );
                guarded += 1;
            }
        }
    }
    assert!(guarded >= 20, "{guarded} operations looked at");
    for path in ["/health/live", "/health/ready", "/metrics", "/openapi.json"] {
        let response = client
            .get(format!("{}{path}", replayer.url))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn every_problem_has_its_page() {
    let replayer = Replayer::start().await;
    for code in [
        "dlq.letter_unknown",
        "dlq.already_replayed",
        "dlq.not_replayable",
        "dlq.no_replay_topic",
        "kafka.away",
        "kafka.refused",
        "kafka.configuration",
        "kafka.unknown_topic",
        "kafka.unknown_partition",
        "kafka.unknown_group",
        "kafka.offset_needs_partition",
    ] {
        let response = reqwest::get(format!("{}/errors/{code}", replayer.url))
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{code}");
    }
}

#[tokio::test]
async fn an_outage_of_the_database_loses_no_letter() {
    let proxy = testkit::Proxy::to(
        testkit::postgres_address()
            .split('@')
            .next_back()
            .unwrap()
            .split('/')
            .next()
            .unwrap(),
    )
    .await;
    let database = testkit::TestDb::empty("replayer").await;
    let prefix = testkit::topic_prefix();
    let through = database
        .url()
        .rsplit_once('/')
        .map(|(_, name)| format!("postgres://postgres@{}/{name}", proxy.address()));
    let settings = support::settings(&prefix, &through.unwrap());
    let replayer = Replayer::start_with(settings, database).await;
    replayer.create_group_topics("payment").await;
    replayer
        .dead_letter("payment", "before", Some(b"x"), &Headers::new())
        .await;
    replayer.indexed("payment", 1).await;
    proxy.cut();
    for number in 0..10 {
        replayer
            .dead_letter("payment", &number.to_string(), Some(b"x"), &Headers::new())
            .await;
    }
    let (status, _) = replayer.ask(Method::GET, "/v1/dlq/letters/1", None).await;
    assert_eq!(
        status,
        StatusCode::SERVICE_UNAVAILABLE,
        "an outage is no empty answer"
    );
    proxy.mend();
    replayer.indexed("payment", 11).await;
}
