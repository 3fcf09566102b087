//! A command that cannot be carried out until somebody acts: dead-lettered, mended, replayed, confirmed; once.

use std::process::Command;

use crate::shared;
use e2e::client::{one_line, product};
use e2e::pipeline::TOKEN;
use e2e::{Client, Pipeline};
use reqwest::Method;
use serde_json::{Value, json};

/// Submits an order in a currency without a merchant account, and waits for its dead letter.
async fn dead_order(
    pipeline: &Pipeline,
    client: &Client,
    currency: &str,
) -> (String, String, Value) {
    let lamp = product("dead");
    client.stock(&lamp, 5).await;
    let mut order = one_line(&lamp, 2, "tok_approved");
    order["currency"] = json!(currency);
    let id = client.submit(&order).await;
    let letter = client
        .dead_letter(&pipeline.topic("payment.commands.payment.dlq"), &id)
        .await;
    assert_eq!(letter["error_code"], "payment.merchant_account_missing");
    assert_eq!(
        (letter["error_class"].as_str(), letter["attempts"].as_i64()),
        (Some("permanent"), Some(1))
    );
    assert_eq!(client.order(&id).await["status"], "RESERVED");
    (id, lamp, letter)
}

/// Everything is as after one successful order, and no other group has seen the replay.
async fn confirmed_once(pipeline: &Pipeline, client: &Client, id: &str, lamp: &str) {
    assert_eq!(client.settled(id).await["verdict"], "confirmed");
    let level = client.level(lamp).await;
    assert_eq!(
        (level["on_hand"].as_i64(), level["reserved"].as_i64()),
        (Some(3), Some(0))
    );
    let ledger = client.ledger(id).await;
    assert_eq!(
        (
            ledger["effects"]["authorize"].as_i64(),
            ledger["effects"]["capture"].as_i64()
        ),
        (Some(1), Some(1))
    );
    // The command's own topic holds it once: the replay went to the failing group's topic and nowhere else.
    let commands = testkit::kafka::read_committed(&pipeline.topic("payment.commands")).await;
    let authorizations = commands
        .iter()
        .filter(|record| record.key.as_deref() == Some(id.as_bytes()))
        .filter(|record| {
            record.headers.get_str("ce_type") == Some("oncebox.payment.AuthorizePayment")
        })
        .count();
    assert_eq!(authorizations, 1);
}

#[test]
fn mended_and_replayed_over_http() {
    shared(async |pipeline, client| {
        let (id, lamp, letter) = dead_order(pipeline, &client, "CHF").await;
        let path = format!("/v1/dlq/letters/{}", letter["id"]);
        let detail = client.replayer(Method::GET, &path, None).await.ok();
        assert_eq!(detail["value"]["json"]["order_id"], id.as_str(), "{detail}");

        client.merchant_account("CHF").await;
        let replay = format!("{path}/replay");
        let body = json!({ "reason": "account added", "actor": "test" });
        client
            .replayer(Method::POST, &replay, Some(&body))
            .await
            .ok();
        confirmed_once(pipeline, &client, &id, &lamp).await;

        // Again: only when it is asked for outright, and then the consumer deduplicates it.
        assert_eq!(
            client
                .replayer(Method::POST, &replay, Some(&body))
                .await
                .status,
            409
        );
        let again = json!({ "reason": "by mistake", "actor": "test", "again": true });
        client
            .replayer(Method::POST, &replay, Some(&again))
            .await
            .ok();
        let topic = pipeline.topic("payment.commands.payment.replay");
        testkit::eventually(
            "both replays on their topic",
            e2e::client::PATIENCE,
            async || {
                let replays = testkit::kafka::read_committed(&topic).await;
                (replays
                    .iter()
                    .filter(|record| record.key.as_deref() == Some(id.as_bytes()))
                    .count()
                    == 2)
                    .then_some(())
            },
        )
        .await;
        // A further order behind it on every partition would not prove more than the group's lag does.
        lag_is_gone(pipeline, &client, "payment").await;
        confirmed_once(pipeline, &client, &id, &lamp).await;
    });
}

async fn lag_is_gone(pipeline: &Pipeline, client: &Client, group: &str) {
    let path = format!("/v1/groups/{}", pipeline.topic(group));
    testkit::eventually(
        &format!("group {group} to catch up"),
        e2e::client::PATIENCE,
        async || {
            let answer = client.replayer(Method::GET, &path, None).await.ok();
            (answer["lag"] == 0).then_some(())
        },
    )
    .await;
}

#[test]
fn mended_and_replayed_by_command_line() {
    shared(async |pipeline, client| {
        let (id, lamp, letter) = dead_order(pipeline, &client, "SEK").await;
        client.merchant_account("SEK").await;
        let dlq = |arguments: &[&str]| {
            let output = Command::new(e2e::service::binaries().join("dlq"))
                .args(arguments)
                .env("DLQ_URL", pipeline.replayer.url())
                .env("DLQ_TOKEN", TOKEN)
                .output()
                .unwrap();
            assert!(
                output.status.success(),
                "dlq {arguments:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            String::from_utf8(output.stdout).unwrap()
        };
        let number = letter["id"].to_string();
        assert!(dlq(&["list", "--json"]).contains(&id));
        assert!(dlq(&["show", &number]).contains("payment.merchant_account_missing"));
        dlq(&["replay", &number, "--reason", "account added", "--yes"]);
        confirmed_once(pipeline, &client, &id, &lamp).await;
    });
}

#[test]
fn the_replayer_wants_its_token() {
    shared(async |pipeline, client| {
        let url = format!("{}/v1/dlq/topics", pipeline.replayer.url());
        for headers in [&[][..], &[("authorization", "Bearer wrong")][..]] {
            let answer = client.call(Method::GET, url.clone(), headers, None).await;
            assert_eq!(answer.status, 401);
            assert_eq!(answer.headers["content-type"], "application/problem+json");
        }
    });
}
