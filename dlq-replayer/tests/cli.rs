//! `dlq` as a process against a served replayer.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

#[path = "support/replayer.rs"]
mod support;

use std::process::{Output, Stdio};

use oncebox::Headers;
use serde_json::{Value, json};
use support::{Replayer, TOKEN, own_headers};

const EVENT: &str = "0199b0f4-6c1e-7e30-8f3a-3a7a7a0f6f11";

struct Ran {
    code: i32,
    out: String,
    err: String,
}

async fn dlq_at(url: &str, token: &str, arguments: &[&str]) -> Ran {
    let output: Output = tokio::process::Command::new(env!("CARGO_BIN_EXE_dlq"))
        .args(arguments)
        .env("DLQ_URL", url)
        .env("DLQ_TOKEN", token)
        .env("DLQ_ACTOR", "kim")
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

async fn run(replayer: &Replayer, arguments: &[&str]) -> Ran {
    dlq_at(&replayer.url, TOKEN, arguments).await
}

#[tokio::test]
async fn from_list_to_show_to_replay() {
    let replayer = Replayer::start().await;
    replayer.create_group_topics("payment").await;
    let value = b"\xde\xad\x1b[31m";
    replayer
        .dead_letter("payment", "order-1", Some(value), &own_headers(EVENT))
        .await;
    for number in 0..4 {
        replayer
            .dead_letter(
                "payment",
                &format!("k{number}"),
                Some(b"plain text"),
                &Headers::new(),
            )
            .await;
    }
    let letters = replayer.indexed("payment", 5).await;
    let id = letters
        .iter()
        .find(|letter| letter["key"] == "order-1")
        .unwrap()["id"]
        .to_string();

    let topics = run(&replayer, &["topics"]).await;
    assert_eq!(topics.code, 0, "{}", topics.err);
    assert!(
        topics.out.contains(&replayer.dlq("payment")),
        "{}",
        topics.out
    );

    let listed = run(&replayer, &["list", "--group", "payment", "--limit", "2"]).await;
    assert_eq!(
        (listed.code, listed.out.lines().count()),
        (0, 3),
        "{}",
        listed.out
    );
    assert!(listed.err.contains("--all"), "{}", listed.err);
    let all: Value =
        serde_json::from_str(&run(&replayer, &["list", "--all", "--json"]).await.out).unwrap();
    assert_eq!(all["items"].as_array().unwrap().len(), 5);

    let shown = run(&replayer, &["show", &id]).await;
    assert_eq!(shown.code, 0, "{}", shown.err);
    for expected in [
        "no merchant account for USD",
        "payment.merchant_account_missing",
        EVENT,
        "de ad 1b",
        "order-1",
    ] {
        assert!(
            shown.out.contains(expected),
            "{expected} is missing:\n{}",
            shown.out
        );
    }
    assert!(
        !shown.out.contains('\x1b'),
        "a record must not steer the terminal"
    );
    let raw = tokio::process::Command::new(env!("CARGO_BIN_EXE_dlq"))
        .args([
            "--url",
            &replayer.url,
            "--token",
            TOKEN,
            "show",
            &id,
            "--raw",
        ])
        .output()
        .await
        .unwrap();
    assert_eq!(raw.stdout, value, "raw is byte for byte");

    let replayed = run(&replayer, &["replay", &id, "--reason", "account added"]).await;
    assert_eq!(
        (replayed.code, replayed.out.lines().next()),
        (0, Some("1 dead letter replayed")),
        "{}",
        replayed.err
    );
    let detail = replayer.get(&format!("/v1/dlq/letters/{id}")).await;
    assert_eq!(
        (
            &detail["replays"][0]["actor"],
            &detail["replays"][0]["reason"]
        ),
        (&json!("kim"), &json!("account added"))
    );
    let again = run(&replayer, &["replay", &id]).await;
    assert_eq!(again.code, 1);
    assert!(
        again.err.contains("dlq.already_replayed") && again.err.contains("again"),
        "{}",
        again.err
    );
    assert_eq!(run(&replayer, &["replay", &id, "--again"]).await.code, 0);
    let forced = run(&replayer, &["replay", &id, "--again", "--force"]).await;
    assert_eq!(forced.code, 0, "{}", forced.err);
    let header =
        "select headers->>'oncebox-replay-forced' from oncebox.outbox order by seq desc limit 1";
    assert_eq!(replayer.scalar::<String>(header).await, "true");

    let unasked = run(&replayer, &["replay", "--group", "payment"]).await;
    assert_eq!(unasked.code, 2, "{}", unasked.err);
    assert!(unasked.err.contains("--yes"), "{}", unasked.err);
    assert_eq!(
        replayer
            .scalar::<i64>("select count(*) from oncebox.outbox")
            .await,
        3,
        "nobody said yes"
    );
    let planned = run(&replayer, &["replay", "--group", "payment", "--dry-run"]).await;
    assert_eq!(
        (planned.code, planned.out.trim()),
        (0, "4 dead letters would be replayed")
    );
    let rest = run(
        &replayer,
        &["replay", "--group", "payment", "--yes", "--json"],
    )
    .await;
    let rest: Value = serde_json::from_str(&rest.out).unwrap();
    assert_eq!(rest["replayed"], 4);
    assert_eq!(
        replayer
            .scalar::<i64>("select count(*) from oncebox.outbox")
            .await,
        7
    );
    let none = run(&replayer, &["replay", "--group", "payment", "--yes"]).await;
    assert_eq!(none.code, 3, "nothing is left: {}", none.out);
    let audit: Value =
        serde_json::from_str(&run(&replayer, &["replays", "--json"]).await.out).unwrap();
    assert_eq!(audit["items"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn kafka_is_browsed_and_searched() {
    let replayer = Replayer::start().await;
    let topic = replayer.source();
    testkit::kafka::create_topics(&[&topic], 2).await;
    for number in 0..150 {
        let key = format!("key{}", number % 50);
        let value = format!("value {number}");
        replayer
            .sender
            .send(
                &topic,
                None,
                Some(key.as_bytes()),
                Some(value.as_bytes()),
                &own_headers(EVENT),
            )
            .await;
    }
    let newest = run(&replayer, &["browse", &topic, "--limit", "3"]).await;
    assert_eq!(newest.code, 0, "{}", newest.err);
    assert!(
        newest.out.contains("value 149") && !newest.out.contains("value 100\n"),
        "{}",
        newest.out
    );
    let all: Value = serde_json::from_str(
        &run(
            &replayer,
            &[
                "browse", &topic, "--from", "earliest", "--limit", "1000", "--json",
            ],
        )
        .await
        .out,
    )
    .unwrap();
    assert_eq!(
        (all["items"].as_array().unwrap().len(), &all["at_end"]),
        (150, &json!(true)),
        "more than a page"
    );

    let found = run(&replayer, &["find", &topic, "--key", "key7"]).await;
    assert_eq!(found.code, 0, "{}", found.err);
    assert!(
        ["value 7\n", "value 57\n", "value 107\n"]
            .iter()
            .all(|value| found.out.contains(value)),
        "{}",
        found.out
    );
    assert!(found.err.contains("150 records searched"), "{}", found.err);
    let by_event: Value = serde_json::from_str(
        &run(
            &replayer,
            &[
                "find",
                &topic,
                "--event-id",
                EVENT,
                "--limit",
                "120",
                "--json",
            ],
        )
        .await
        .out,
    )
    .unwrap();
    assert_eq!(by_event["items"].as_array().unwrap().len(), 120);
    assert_eq!(
        run(&replayer, &["find", &topic, "--key", "nobody"])
            .await
            .code,
        3
    );

    let listed = run(&replayer, &["kafka", "topics"]).await;
    assert!(listed.out.contains(&topic), "{}", listed.out);
    let detail = run(&replayer, &["kafka", "topic", &topic]).await;
    assert!(detail.out.contains("retention.ms"), "{}", detail.out);
    let near = run(&replayer, &["kafka", "topic", &topic[..topic.len() - 1]]).await;
    assert_eq!(near.code, 1);
    assert!(
        near.err.contains(&format!("did you mean {topic}?")),
        "{}",
        near.err
    );
    // A group begins when there is something to read.
    replayer.create_group_topics("payment").await;
    let group = format!("{}dlq-replayer", replayer.prefix);
    testkit::eventually("the indexer's group", support::SOON, async || {
        (run(&replayer, &["kafka", "group", &group]).await.code == 0).then_some(())
    })
    .await;
    assert!(
        run(&replayer, &["kafka", "groups"])
            .await
            .out
            .contains(&group)
    );
}

#[tokio::test]
async fn what_goes_wrong_is_told_with_a_way_out() {
    let replayer = Replayer::start().await;
    let stranger = dlq_at(&replayer.url, "wrong", &["topics"]).await;
    assert_eq!(stranger.code, 1);
    assert!(stranger.err.contains("DLQ_TOKEN"), "{}", stranger.err);
    let nobody = dlq_at("http://127.0.0.1:1", TOKEN, &["topics"]).await;
    assert_eq!(nobody.code, 1);
    assert!(
        nobody.err.contains("http://127.0.0.1:1") && nobody.err.contains("DLQ_URL"),
        "{}",
        nobody.err
    );
    assert_eq!(dlq_at("127.0.0.1:1", TOKEN, &["topics"]).await.code, 2);
    assert_eq!(run(&replayer, &["replay"]).await.code, 2);
    assert_eq!(
        run(&replayer, &["topics"]).await.code,
        3,
        "nothing has failed yet"
    );
    let missing = run(&replayer, &["show", "999"]).await;
    assert_eq!(missing.code, 1);
    assert!(
        missing.err.contains("no dead letter 999"),
        "{}",
        missing.err
    );
}
