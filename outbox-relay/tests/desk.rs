//! What operators do about rows that the broker refuses, by the command line `relay` against a served relay.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::process::{Output, Stdio};
use std::time::Duration;

use outbox_relay::Settings;
use serde_json::Value;
use testkit::TestDb;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN: &str = "test-token";

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        serde_json::from_str(&self.out).unwrap()
    }
}

async fn relay_at(url: &str, token: &str, arguments: &[&str]) -> Ran {
    let output: Output = tokio::process::Command::new(env!("CARGO_BIN_EXE_relay"))
        .args(arguments)
        .env("RELAY_URL", url)
        .env("RELAY_TOKEN", token)
        .env("RELAY_ACTOR", "kim")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

async fn insert(database: &TestDb, topic: &str, rows: &[(&str, &[u8])]) {
    for (key, payload) in rows {
        sqlx::query(
            "insert into oncebox.outbox (event_id, topic, key, payload, headers)
             values (gen_random_uuid(), $1, convert_to($2, 'utf8'), $3, '{\"a\": \"b\"}')",
        )
        .bind(topic)
        .bind(key)
        .bind(payload)
        .execute(database.pool())
        .await
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_list_to_show_to_skip_retry_and_audit() {
    let (database, prefix) = (TestDb::new("desk").await, testkit::topic_prefix());
    let missing = format!("{prefix}missing");
    let rows: [(&str, &[u8]); 4] = [("a", b"a1"), ("a", b"a2"), ("b", b"\xff\x1b"), ("c", b"c1")];
    insert(&database, &missing, &rows).await;
    let address = format!("127.0.0.1:{}", testkit::free_port());
    let url = format!("http://{address}");
    let mut settings: Settings = toml::from_str(outbox_relay::DEFAULTS).unwrap();
    settings.kafka = testkit::kafka_address();
    settings.topic_prefix.clone_from(&prefix);
    settings.token = TOKEN.into();
    settings.http_address = address;
    settings.sources = BTreeMap::from([("desk".to_owned(), database.url().into())]);
    // Only an operator's word moves anything.
    settings.refused_retry_ms = 3_600_000;
    let shutdown = CancellationToken::new();
    let served = tokio::spawn(outbox_relay::run(settings, shutdown.clone()));
    let run = async |arguments: &[&str]| relay_at(&url, TOKEN, arguments).await;

    let status = testkit::eventually("three blocked keys", PATIENCE, async || {
        let ran = run(&["status", "--json"]).await;
        let status: Value = serde_json::from_str(&ran.out).ok()?;
        (status[0]["blocked_keys"] == 3 && status[0]["parked"]["waiting"] == 1).then_some(status)
    })
    .await;
    assert_eq!(status[0]["state"], "running");
    let shown = run(&["status"]).await;
    assert!(
        shown.out.contains("BLOCKED KEYS") && shown.out.contains("desk"),
        "{}",
        shown.out
    );

    let listed = run(&["parked", "list"]).await;
    assert!(
        listed.out.contains("UnknownTopic"),
        "{}{}",
        listed.out,
        listed.err
    );
    let refused = run(&["parked", "list", "--state", "refused", "--json"])
        .await
        .json();
    let items = refused["items"].as_array().unwrap();
    assert_eq!(items.len(), 3);
    let seq = |index: usize| items[index]["seq"].to_string();
    let detail = run(&["parked", "show", &seq(0)]).await;
    assert!(
        detail.out.contains("a1") && detail.out.contains("a  b"),
        "{}",
        detail.out
    );
    let raw = run(&["parked", "show", &seq(1), "--raw"]).await;
    assert_eq!(raw.out, "\u{fffd}\x1b", "the bytes as they are");
    let steering = run(&["parked", "show", &seq(1)]).await;
    assert!(!steering.out.contains('\x1b'), "{}", steering.out);

    assert_eq!(relay_at(&url, "wrong", &["parked", "list"]).await.code, 1);
    assert_eq!(
        run(&["parked", "skip", &seq(0)]).await.code,
        2,
        "no reason given"
    );
    let unknown = run(&["parked", "skip", "999", "--reason", "r"]).await;
    assert!(
        unknown.err.contains("relay.parked_unknown"),
        "{}",
        unknown.err
    );
    let elsewhere = run(&["parked", "list", "--source", "nowhere"]).await;
    assert!(elsewhere.err.contains("it has desk"), "{}", elsewhere.err);

    // Without the head, its key's next row is tried, and refused in its turn.
    assert_eq!(
        run(&["parked", "skip", &seq(0), "--reason", "not needed"])
            .await
            .code,
        0
    );
    testkit::eventually("the next row of the key is refused", PATIENCE, async || {
        let waiting = run(&["parked", "list", "--state", "waiting"]).await;
        (waiting.code == 3).then_some(())
    })
    .await;
    testkit::kafka::create_topics(&[&missing], 1).await;
    assert_eq!(
        run(&["parked", "retry", "--all", "--reason", "topic made"])
            .await
            .code,
        0
    );
    let texts = testkit::eventually("all rows, the skipped one last", PATIENCE, async || {
        let records = testkit::kafka::read_committed(&missing).await;
        (records.len() == 4).then(|| {
            records
                .into_iter()
                .map(|record| record.value.unwrap().to_vec())
                .collect::<Vec<_>>()
        })
    })
    .await;
    assert!(texts.contains(&b"a2".to_vec()) && texts.contains(&b"a1".to_vec()));
    let audit = run(&["audit", "--json"]).await.json();
    let actions: Vec<_> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            (
                line["action"].as_str().unwrap(),
                line["actor"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(actions, [("retry", "kim"), ("skip", "kim")]);
    shutdown.cancel();
    served.await.unwrap().unwrap();
}
