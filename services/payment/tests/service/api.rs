//! The API beside the consumer: accounts, payments, and a dead letter whose cause is cleared by HTTP.

use std::time::Duration;

use oncebox::EventId;
use reqwest::{Method, StatusCode};
use schemas::payment::AuthorizePayment;
use serde_json::{Value, json};
use testkit::eventually;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::world::World;

const DEADLINE: Duration = Duration::from_secs(60);

struct Api<'a> {
    world: &'a World,
    url: String,
}

impl Api<'_> {
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = self
            .world
            .http
            .request(method, format!("{}{path}", self.url));
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let body = if status == StatusCode::NO_CONTENT {
            Value::Null
        } else {
            answer.json().await.unwrap()
        };
        (status.as_u16(), body)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask(Method::GET, path, None).await
    }

    /// The payment, once it is in this state.
    async fn payment(&self, order: Uuid, state: &str) -> Value {
        eventually(&format!("payment {state}"), DEADLINE, async || {
            let (_, payment) = self.get(&format!("/v1/payments/{order}")).await;
            (payment["state"] == state).then_some(payment)
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_account_is_cleared_by_http_and_the_replay_goes_through() {
    let world = World::new("api").await;
    let stop = CancellationToken::new();
    let running = payment::start(world.settings(), stop.clone())
        .await
        .unwrap();
    let api = Api {
        world: &world,
        url: format!("http://{}", running.address()),
    };
    let serving = tokio::spawn(running.finished());

    let order = Uuid::now_v7();
    let command = world.authorize(order, "tok_approved", "CHF").await;
    let dead = format!("{}payment.commands.payment.dlq", world.prefix);
    eventually("the dead letter", DEADLINE, async || {
        (world.led_to(command).await == [dead.clone()]).then_some(())
    })
    .await;
    assert_eq!(api.payment(order, "created").await["operations"], json!([]));

    let (status, account) = api
        .ask(
            Method::PUT,
            "/v1/merchant-accounts/CHF",
            Some(json!({"account": "acme-chf"})),
        )
        .await;
    assert_eq!((status, &account["account"]), (201, &json!("acme-chf")));
    let replayed = AuthorizePayment {
        order_id: order,
        customer_id: "customer-1".into(),
        amount_minor: 1250,
        currency: "CHF".into(),
        payment_token: "tok_approved".into(),
    };
    for _ in 0..2 {
        world
            .send("payment.commands.payment.replay", command, &replayed)
            .await;
    }
    let payment = api.payment(order, "authorized").await;
    assert_eq!(payment["merchant_account"], "acme-chf");
    assert!(
        !payment.to_string().contains("tok_"),
        "a token is not shown"
    );
    // Of the same key and so behind both: when it is answered, they are done.
    let last = world
        .send("payment.commands.payment.replay", EventId::new(), &replayed)
        .await;
    eventually("the last answer", DEADLINE, async || {
        (!world.led_to(last).await.is_empty()).then_some(())
    })
    .await;
    let answered = format!("{}payment.events", world.prefix);
    assert_eq!(
        world.led_to(command).await,
        [dead, answered],
        "replayed twice, answered once"
    );

    accounts(&api).await;
    lists(&api).await;
    stop.cancel();
    serving.await.unwrap().unwrap();
}

async fn accounts(api: &Api<'_>) {
    let put = |path: &'static str, body| api.ask(Method::PUT, path, Some(body));
    assert_eq!(
        put("/v1/merchant-accounts/CHF", json!({"account": "acme-2"}))
            .await
            .0,
        200
    );
    let (status, problem) = put("/v1/merchant-accounts/franc", json!({"account": "acme"})).await;
    assert_eq!(
        (status, &problem["code"]),
        (400, &json!("request.path_invalid"))
    );
    let (status, problem) = put(
        "/v1/merchant-accounts/CHF",
        json!({"account": "", "iban": "x"}),
    )
    .await;
    assert_eq!(
        (status, problem["errors"].as_array().unwrap().len()),
        (422, 2)
    );
    let (_, list) = api.get("/v1/merchant-accounts").await;
    let names: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|account| account["currency"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["CHF", "EUR"]);
    assert_eq!(
        api.ask(Method::DELETE, "/v1/merchant-accounts/CHF", None)
            .await
            .0,
        204
    );
    let (status, problem) = api
        .ask(Method::DELETE, "/v1/merchant-accounts/CHF", None)
        .await;
    assert_eq!(
        (status, &problem["code"]),
        (404, &json!("payment.merchant_account_not_found"))
    );
}

async fn lists(api: &Api<'_>) {
    let mut orders = Vec::new();
    for number in 0..5 {
        let order = Uuid::now_v7();
        let token = if number == 0 {
            "tok_declined"
        } else {
            "tok_approved"
        };
        api.world.authorize(order, token, "EUR").await;
        api.payment(
            order,
            if number == 0 {
                "declined"
            } else {
                "authorized"
            },
        )
        .await;
        orders.push(order.to_string());
    }
    let (mut seen, mut path) = (Vec::new(), "/v1/payments?limit=2".to_owned());
    loop {
        let (status, page) = api.get(&path).await;
        assert_eq!(status, 200);
        for payment in page["items"].as_array().unwrap() {
            assert_eq!(payment["operations"][0]["outcome"], "known");
            seen.push(payment["order_id"].as_str().unwrap().to_owned());
        }
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/payments?limit=2&cursor={next}"),
            None => break,
        }
    }
    let newest_first: Vec<_> = orders.iter().rev().cloned().collect();
    assert_eq!(seen[..5], newest_first);
    assert_eq!(seen.len(), 6, "each once, with the one of before");

    let (_, declined) = api.get("/v1/payments?state=declined").await;
    assert_eq!(declined["items"][0]["order_id"], orders[0]);
    assert_eq!(declined["items"][0]["decline_code"], "card_declined");
    let (status, problem) = api.get("/v1/payments?state=lost").await;
    assert_eq!(
        (status, &problem["code"]),
        (400, &json!("request.query_invalid"))
    );
    let (status, problem) = api.get(&format!("/v1/payments/{}", Uuid::now_v7())).await;
    assert_eq!(
        (status, &problem["code"]),
        (404, &json!("payment.not_found"))
    );
    let (status, ready) = api.get("/health/ready").await;
    assert_eq!(
        (status, &ready["checks"]["payment_provider"]["status"]),
        (200, &json!("up"))
    );
}
