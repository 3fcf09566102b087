//! From a failing record to list, retry, dead-letter and release, by the command line `parked` against a consumer at work.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use oncebox::{
    Codec, Consumer, ConsumerSettings, Delivery, Each, ErrorClass, EventId, Failure, Handler,
    Headers, OnDeadLetter, Parking, Raw, RetryPolicy,
};
use sqlx::PgConnection;
use testkit::{TestDb, eventually};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(30);
const TOKEN: &str = "test-token";
const GROUP: &str = "desk";

/// Fails every record while it is broken, for want of a provider.
struct Failing(Arc<AtomicBool>);

#[async_trait]
impl Handler for Failing {
    type Message = Raw;

    async fn handle(&self, _: &mut PgConnection, _: &Delivery<Raw>) -> Result<(), Failure> {
        if self.0.load(Ordering::SeqCst) {
            return Err(Failure::new(
                ErrorClass::Transient,
                "test.provider_away",
                "the provider does not answer",
            ));
        }
        Ok(())
    }
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

async fn parked(url: &str, token: &str, arguments: &[&str]) -> Ran {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_parked"))
        .args(arguments)
        .env("PARKED_URL", url)
        .env("PARKED_TOKEN", token)
        .env("PARKED_ACTOR", "kim")
        .output()
        .await
        .unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

async fn serve(parking: Parking) -> String {
    let (router, _) = consumer_desk::routes(parking, TOKEN).split_for_parts();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_failing_record_to_list_retry_dead_letter_and_release() {
    let (database, prefix) = (TestDb::new("parkdesk").await, testkit::topic_prefix());
    let topic = format!("{prefix}notes");
    let replay = oncebox::dead_letter::replay_topic(&topic, GROUP);
    testkit::kafka::create_topics(&[&topic, &replay], 1).await;
    let broken = Arc::new(AtomicBool::new(true));
    let settings = ConsumerSettings {
        topic_prefix: prefix,
        on_dead_letter: OnDeadLetter::Hold,
        // No attempt by itself within the test.
        retry: RetryPolicy {
            retries: 1000,
            first_delay_ms: 600_000,
            max_delay_ms: 600_000,
            ..RetryPolicy::default()
        },
        ..ConsumerSettings::new(testkit::kafka_address(), GROUP, ["notes"])
    };
    let codec = Codec::new(&testkit::registry_address(), None).unwrap();
    let stop = CancellationToken::new();
    let handler = Each(Failing(Arc::clone(&broken)));
    let consumer = Consumer::new(settings, database.pool().clone(), codec, "1", handler);
    let consuming = tokio::spawn(consumer.run(stop.clone()));
    let url = serve(Parking::new(database.pool().clone(), GROUP)).await;

    let nothing = parked(&url, TOKEN, &["list"]).await;
    assert_eq!((nothing.code, nothing.err.trim()), (3, "no key is parked"));
    let sender = testkit::kafka::Sender::new();
    for (key, text) in [("a", "a1"), ("a", "a2"), ("b", "b1")] {
        let mut headers = Headers::new();
        headers.push("id", EventId::new().to_string());
        let (key, text) = (Some(str::as_bytes(key)), Some(str::as_bytes(text)));
        sender.send(&topic, None, key, text, &headers).await;
    }
    let listed = eventually("two parked keys", PATIENCE, async || {
        let listed = parked(&url, TOKEN, &["list"]).await;
        let rows = listed.out.lines().count();
        (rows == 3).then_some(listed)
    })
    .await;
    assert!(listed.out.contains("test.provider_away"), "{}", listed.out);

    let keys = eventually("both records of a", PATIENCE, async || {
        let keys = parked(&url, TOKEN, &["list", "--json"]).await;
        let keys: serde_json::Value = serde_json::from_str(&keys.out).unwrap();
        let depth = |name: &str| {
            let mut all = keys.as_array().unwrap().iter();
            all.find(|key| key["key"] == name)
                .map(|key| key["depth"].clone())
        };
        (depth("a") == Some(2.into()) && depth("b") == Some(1.into())).then_some(keys)
    })
    .await;
    assert_eq!(keys[0]["last_error"]["class"], "transient");

    // Given up: what is behind it is held, until it is released.
    let given_up = parked(&url, TOKEN, &["dead-letter", "a", "--reason", "agreed"]).await;
    assert_eq!(given_up.code, 0, "{}", given_up.err);
    eventually("a is held", PATIENCE, async || {
        let listed = parked(&url, TOKEN, &["list"]).await;
        listed.out.contains("held for").then_some(())
    })
    .await;
    broken.store(false, Ordering::SeqCst);
    let retried = parked(&url, TOKEN, &["retry", "--all", "--reason", "back"]).await;
    assert_eq!(
        retried.out.trim(),
        "retry: 1 keys",
        "what is held is not retried"
    );
    let released = parked(&url, TOKEN, &["release", "a", "--reason", "by hand"]).await;
    assert_eq!(released.code, 0, "{}", released.err);
    eventually("nothing is parked", PATIENCE, async || {
        (parked(&url, TOKEN, &["list"]).await.code == 3).then_some(())
    })
    .await;

    let wrong = parked(&url, "guessed", &["list"]).await;
    assert_eq!(wrong.code, 1);
    assert!(
        wrong.err.contains("the bearer token is not valid"),
        "{}",
        wrong.err
    );
    let nobody = parked(&url, TOKEN, &["retry", "z", "--reason", "x"]).await;
    assert_eq!(nobody.code, 3, "{}", nobody.err);
    stop.cancel();
    consuming.await.unwrap().unwrap();
}
