//! The outbox on a real PostgreSQL: with the transaction or not at all, in order, within its sizes.
#![allow(clippy::unwrap_used, reason = "a test's helper fails the test")]

use oncebox::{Cause, Codec, EventId, Headers, Outbox, OutboxError, OutboxRow};
use sqlx::Row;
use testkit::TestDb;

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Noted {
    id: String,
    text: String,
}

oncebox::event! {
    Noted = "kit.test.Noted" on "kit-test.notes" keyed by |event| event.id.clone(),
    schema r#"{"type":"record","name":"Noted","namespace":"kit.test","fields":[
        {"name":"id","type":"string"},{"name":"text","type":"string"}]}"#
}

fn noted(text: &str) -> Noted {
    Noted {
        id: "note-1".into(),
        text: text.into(),
    }
}

fn outbox(database: &TestDb) -> Outbox {
    let codec = Codec::new(&testkit::registry_address(), Some(database.pool().clone())).unwrap();
    Outbox::new(codec, "kit-test", "prefix.")
}

async fn count(database: &TestDb) -> i64 {
    sqlx::query_scalar("select count(*) from oncebox.outbox")
        .fetch_one(database.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn an_event_exists_if_and_only_if_its_transaction_commits() {
    let database = TestDb::new("outbox").await;
    let outbox = outbox(&database);

    let mut tx = database.pool().begin().await.unwrap();
    outbox.append(&mut tx, &noted("lost")).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(count(&database).await, 0);

    let mut tx = database.pool().begin().await.unwrap();
    let id = outbox.append(&mut tx, &noted("kept")).await.unwrap();
    tx.commit().await.unwrap();
    let row = sqlx::query("select event_id, topic, key, payload, headers, tableoid::regclass::text as home from oncebox.outbox")
        .fetch_one(database.pool())
        .await
        .unwrap();
    assert_eq!(row.get::<uuid::Uuid, _>("event_id"), id.as_uuid());
    assert_eq!(row.get::<String, _>("topic"), "prefix.kit-test.notes");
    assert_eq!(row.get::<Vec<u8>, _>("key"), b"note-1");
    assert_ne!(
        row.get::<String, _>("home"),
        "oncebox.outbox_default",
        "today has a partition of its own"
    );
    let headers = Headers::from_json(&row.get("headers")).unwrap();
    assert_eq!(headers.get_str("id"), Some(id.to_string().as_str()));
    assert_eq!(headers.get_str("ce_id"), Some(id.to_string().as_str()));
    assert_eq!(headers.get_str("ce_type"), Some("kit.test.Noted"));
    assert_eq!(headers.get_str("ce_subject"), Some("note-1"));
    assert!(
        headers
            .get_str("traceparent")
            .is_some_and(|trace| trace.len() == 55)
    );
}

#[tokio::test]
async fn the_running_context_is_the_cause() {
    let database = TestDb::new("outbox").await;
    let outbox = outbox(&database);
    let context = telemetry::Context {
        correlation: "request-7".into(),
        causation: Some(EventId::new().as_uuid()),
        trace: telemetry::TraceContext::root(),
    };
    let mut tx = database.pool().begin().await.unwrap();
    telemetry::context::scope(context.clone(), outbox.append(&mut tx, &noted("a")))
        .await
        .unwrap();
    let headers: serde_json::Value = sqlx::query_scalar("select headers from oncebox.outbox")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(headers["oncebox-correlation-id"], "request-7");
    assert_eq!(
        headers["oncebox-causation-id"],
        context.causation.unwrap().to_string()
    );
    assert!(
        headers["traceparent"]
            .as_str()
            .unwrap()
            .contains(&context.trace.trace_id())
    );
}

#[tokio::test]
async fn an_event_may_state_its_place_in_its_keys_stream() {
    let database = TestDb::new("outbox").await;
    let outbox = outbox(&database);
    let mut batch = outbox.batch();
    let cause = oncebox::Cause::root();
    batch.push(&noted("a"), &cause).await.unwrap();
    batch
        .push_in_sequence(&noted("b"), &cause, 7)
        .await
        .unwrap();
    let mut tx = database.pool().begin().await.unwrap();
    batch.insert(&mut tx).await.unwrap();
    let stated: Vec<Option<String>> =
        sqlx::query_scalar("select headers->>'oncebox-sequence' from oncebox.outbox order by seq")
            .fetch_all(&mut *tx)
            .await
            .unwrap();
    assert_eq!(stated, [None, Some("7".to_owned())]);
}

#[tokio::test]
async fn a_batch_keeps_its_order() {
    let database = TestDb::new("outbox").await;
    let outbox = outbox(&database);
    let mut batch = outbox.batch();
    let mut pushed = Vec::new();
    for number in 0..500 {
        pushed.push(
            batch
                .push(&noted(&number.to_string()), &Cause::root())
                .await
                .unwrap()
                .as_uuid(),
        );
    }
    let mut connection = database.pool().acquire().await.unwrap();
    batch.insert(&mut connection).await.unwrap();
    let stored: Vec<uuid::Uuid> =
        sqlx::query_scalar("select event_id from oncebox.outbox order by seq")
            .fetch_all(database.pool())
            .await
            .unwrap();
    assert_eq!(stored, pushed);
}

#[tokio::test]
async fn what_kafka_would_refuse_is_refused_here() {
    let database = TestDb::new("outbox").await;
    let outbox = outbox(&database);
    let mut tx = database.pool().begin().await.unwrap();
    let error = outbox
        .append(&mut tx, &noted(&"x".repeat(1_000_001)))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            OutboxError::PayloadTooLarge {
                limit: 1_000_000,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(error.code(), "outbox.payload_too_large");
    // The transaction is still good: the typed error comes before the database is asked.
    outbox.append(&mut tx, &noted("small")).await.unwrap();
    tx.commit().await.unwrap();
    // A writer in another language meets the same limit in the table.
    let refused = sqlx::query(
        "insert into oncebox.outbox (event_id, topic, payload) values (gen_random_uuid(), 't', $1)",
    )
    .bind(vec![0_u8; 1_000_001])
    .execute(database.pool())
    .await
    .unwrap_err();
    assert!(
        refused.to_string().contains("outbox_payload_size"),
        "{refused}"
    );
}

#[tokio::test]
async fn raw_rows_keep_their_bytes() {
    let database = TestDb::new("outbox").await;
    let mut headers = Headers::new();
    headers.push("a", vec![0xff, 0]);
    headers.push("a", "second");
    headers.push_raw("b", None);
    let row = OutboxRow {
        event_id: EventId::new(),
        topic: "source.group.dlq".into(),
        key: Some(vec![0, 159, 146, 150].into()),
        payload: Some(vec![7; 2_000_000].into()),
        headers: headers.clone(),
    };
    let mut connection = database.pool().acquire().await.unwrap();
    outbox(&database)
        .append_raw(&mut connection, row.clone())
        .await
        .unwrap();
    let stored = sqlx::query("select key, payload, headers from oncebox.outbox")
        .fetch_one(database.pool())
        .await
        .unwrap();
    assert_eq!(stored.get::<Vec<u8>, _>("key"), row.key.unwrap());
    assert_eq!(stored.get::<Vec<u8>, _>("payload"), row.payload.unwrap());
    assert_eq!(Headers::from_json(&stored.get("headers")).unwrap(), headers);
}

/// A service that restarts while the registry is away still knows the ids that it used before.
#[tokio::test]
async fn a_restart_without_the_registry_still_writes_and_reads() {
    let database = TestDb::new("outbox").await;
    let before = outbox(&database);
    let bytes = before.codec().encode(&noted("a")).await.unwrap();
    before.codec().open(Some(&bytes)).await.unwrap();
    let codec = Codec::new("http://127.0.0.1:9", Some(database.pool().clone())).unwrap();
    assert_eq!(codec.encode(&noted("a")).await.unwrap(), bytes);
    assert_eq!(
        codec
            .open(Some(&bytes))
            .await
            .unwrap()
            .read::<Noted>()
            .unwrap()
            .text,
        "a"
    );
}

#[tokio::test]
async fn migrating_and_making_partitions_can_be_repeated_at_once() {
    let database = TestDb::empty("outbox").await;
    let (one, two) = tokio::join!(
        oncebox::migrate(database.pool()),
        oncebox::migrate(database.pool())
    );
    one.unwrap();
    two.unwrap();
    assert_eq!(
        oncebox::migrations::ensure_partitions(database.pool())
            .await
            .unwrap(),
        0
    );
    let homes: i64 = sqlx::query_scalar(
        "select count(*) from pg_inherits where inhparent in ('oncebox.outbox'::regclass, 'oncebox.inbox'::regclass)",
    )
    .fetch_one(database.pool())
    .await
    .unwrap();
    assert_eq!(
        homes,
        2 * (8 + 1),
        "today and seven days ahead, and a default, of each"
    );
}

/// Ids of today belong to today's partition: the range by event id really is a range by time.
#[tokio::test]
async fn the_inbox_is_partitioned_by_the_time_in_the_id() {
    let database = TestDb::new("outbox").await;
    let home = async |id: uuid::Uuid| -> String {
        sqlx::query_scalar(
            "insert into oncebox.inbox (consumer, event_id, status) values ('c', $1, 'processed') returning tableoid::regclass::text",
        )
        .bind(id)
        .fetch_one(database.pool())
        .await
        .unwrap()
    };
    let today = chrono::Utc::now()
        .format("oncebox.inbox_%Y%m%d")
        .to_string();
    assert_eq!(home(EventId::new().as_uuid()).await, today);
    assert_eq!(home(uuid::Uuid::new_v4()).await, "oncebox.inbox_default");
}
