//! Whoever writes: another language into the kit's table, and a table of somebody else's making.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use oncebox::Record;
use outbox_relay::{Relay, Settings, SourceSettings};
use sqlx::AssertSqlSafe;
use testkit::TestDb;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);
const WRITER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../docs/examples/write_event.py"
);
const GUIDE: &str = include_str!("../../docs/any_table.md");

fn settings(prefix: &str, source: SourceSettings) -> Settings {
    let mut settings: Settings = toml::from_str(outbox_relay::DEFAULTS).unwrap();
    settings.kafka = testkit::kafka_address();
    settings.topic_prefix = prefix.to_owned();
    settings.sources = BTreeMap::from([("any".to_owned(), source)]);
    settings
}

async fn records(topic: &str, count: usize) -> Vec<Record> {
    testkit::eventually(&format!("{count} records"), PATIENCE, async || {
        let records = testkit::kafka::read_committed(topic).await;
        (records.len() >= count).then_some(records)
    })
    .await
}

/// The block of the guide after a heading, in that language.
fn block<'a>(heading: &str, language: &str) -> &'a str {
    let (_, after) = GUIDE.split_once(heading).unwrap();
    let (_, block) = after.split_once(&format!("```{language}\n")).unwrap();
    block.split_once("```").unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_insert_in_python_is_published() {
    let python = devstack::python_env().expect("a Python environment");
    let (database, prefix) = (TestDb::new("python").await, testkit::topic_prefix());
    let topic = format!("{prefix}greetings");
    testkit::kafka::create_topics(&[&topic], 1).await;
    let shutdown = CancellationToken::new();
    let relay = Relay::start(settings(&prefix, database.url().into()), &shutdown).unwrap();
    let output = Command::new(python)
        .args([WRITER, database.url(), &topic, "ada", "hello"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let id = String::from_utf8(output.stdout).unwrap();
    let records = records(&topic, 1).await;
    assert_eq!(records[0].key.as_deref(), Some(b"ada".as_slice()));
    assert_eq!(
        records[0].value.as_deref(),
        Some(br#"{"text": "hello"}"#.as_slice())
    );
    assert_eq!(records[0].headers.get_str("ce_id"), Some(id.trim()));
    shutdown.cancel();
    relay.ended().await;
}

/// Debezium's standard table, made by what its documentation gives, changed and configured by what our guide says.
#[tokio::test(flavor = "multi_thread")]
async fn debeziums_outbox_is_read_as_the_guide_says() {
    let (database, prefix) = (TestDb::new("debezium").await, testkit::topic_prefix());
    let kind = format!("{prefix}order");
    let topic = format!("outbox.event.{kind}");
    testkit::kafka::create_topics(&[&topic], 1).await;
    let run = async |sql: &str| {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(database.pool())
            .await
            .unwrap()
    };
    run("create table public.outbox (id uuid not null primary key, aggregatetype varchar(255) not null,
             aggregateid varchar(255) not null, type varchar(255) not null, payload jsonb)")
    .await;
    let insert = async |text: &str| {
        sqlx::query(
            "insert into public.outbox (id, aggregatetype, aggregateid, type, payload)
             values (gen_random_uuid(), $1, 'order-7', 'OrderPlaced', jsonb_build_object('text', $2::text))",
        )
        .bind(&kind)
        .bind(text)
        .execute(database.pool())
        .await
        .unwrap()
    };
    insert("before").await;
    run(block("## Another table", "sql")).await;
    insert("after").await;
    let configured = block("## Coming from Debezium", "toml");
    let configured: toml::Table = toml::from_str(configured).unwrap();
    let mut source = configured["sources"]["orders"].clone();
    source["url"] = database.url().into();
    let shutdown = CancellationToken::new();
    let settings = settings(&prefix, source.try_into().unwrap());
    let relay = Relay::start(settings, &shutdown).unwrap();
    let published = records(&topic, 2).await;
    assert_eq!(published[0].key.as_deref(), Some(b"order-7".as_slice()));
    assert_eq!(
        published[1].value.as_deref(),
        Some(br#"{"text": "after"}"#.as_slice())
    );
    let ids: Vec<String> = sqlx::query_scalar("select id::text from public.outbox order by seq")
        .fetch_all(database.pool())
        .await
        .unwrap();
    let headers: Vec<_> = published
        .iter()
        .map(|record| record.headers.get_str("id").unwrap().to_owned())
        .collect();
    assert_eq!(headers, ids);
    assert_eq!(
        published[0].headers.iter().count(),
        1,
        "and no other header"
    );
    // What is refused is parked from this table too, and its place is kept.
    sqlx::query(
        "insert into public.outbox (id, aggregatetype, aggregateid, type, payload)
         values (gen_random_uuid(), $1, 'order-8', 'OrderPlaced', '{}')",
    )
    .bind(format!("{prefix}missing"))
    .execute(database.pool())
    .await
    .unwrap();
    insert("behind").await;
    records(&topic, 3).await;
    let parked: i64 = sqlx::query_scalar("select count(*) from oncebox.relay_parked")
        .fetch_one(database.pool())
        .await
        .unwrap();
    assert_eq!(parked, 1);
    shutdown.cancel();
    relay.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_that_does_not_fit_is_named() {
    let (database, prefix) = (TestDb::new("odd").await, testkit::topic_prefix());
    sqlx::raw_sql("create table public.events (seq bigint, xid xid8, id uuid, kind text); create index on public.events (xid)")
        .execute(database.pool())
        .await
        .unwrap();
    let source = toml::toml! {
        url = "x"
        [table]
        name = "public.events"
        event_id = "id"
        topic = "kind"
        key = "convert_to(customer, 'utf8')"
        payload = "kind"
        headers = "'{}'::jsonb"
        created_at = "null::timestamptz"
    };
    let mut source = toml::Value::Table(source);
    source["url"] = database.url().into();
    let shutdown = CancellationToken::new();
    let relay = Relay::start(settings(&prefix, source.try_into().unwrap()), &shutdown).unwrap();
    let reason = testkit::eventually("the reason", PATIENCE, async || {
        let status = serde_json::to_value(relay.shared()[0].status()).unwrap();
        status["reason"].as_str().map(str::to_owned)
    })
    .await;
    assert!(
        reason.contains("column \"customer\" does not exist"),
        "{reason}"
    );
    assert!(
        reason.contains("\"kind\" for payload is text, and must be bytea"),
        "{reason}"
    );
    shutdown.cancel();
    relay.ended().await;
}
