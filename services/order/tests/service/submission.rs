//! Submissions over HTTP: taken once, refused with every reason at once, and nothing left behind by a refusal.

use crate::common::{Service, json_of, one_mug};
use serde_json::json;

#[tokio::test]
async fn an_order_is_accepted_with_its_events_in_one_transaction() {
    let service = Service::start("submit").await;
    let response = service.submit("key-1", &one_mug()).send().await.unwrap();
    assert_eq!(response.status(), 202);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    assert!(response.headers().contains_key("etag"));
    let order = json_of(response).await;
    assert_eq!(
        location,
        format!("/v1/orders/{}", order["order_id"].as_str().unwrap())
    );
    assert_eq!(
        (&order["status"], &order["verdict"], &order["total_minor"]),
        (&json!("CREATED"), &json!("pending"), &json!(900))
    );
    let id = order["order_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(service.sent(id).await, ["OrderPlaced", "ReserveStock"]);
    assert_eq!(
        service.order(id).await,
        order,
        "what is shown is what was answered"
    );
    let body = service
        .get(&location)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(!body.contains("tok_approved"), "the payment token is shown");
    service.stop().await;
}

#[tokio::test]
async fn twenty_at_once_with_one_key_are_one_order() {
    let service = Service::start("twenty").await;
    let body = one_mug();
    let asked = (0..20).map(|_| service.submit("same-key", &body).send());
    let mut answers = Vec::new();
    for response in futures::future::join_all(asked).await {
        let mut response = response.unwrap();
        while response.status() == 409 {
            assert!(response.headers().contains_key("retry-after"));
            assert_eq!(json_of(response).await["code"], "idempotency.in_flight");
            response = service.submit("same-key", &body).send().await.unwrap();
        }
        assert_eq!(response.status(), 202);
        let replayed = response.headers().get("idempotent-replayed").is_some();
        let headers = (
            response.headers()["location"].clone(),
            response.headers()["etag"].clone(),
        );
        answers.push((replayed, headers, response.bytes().await.unwrap()));
    }
    assert_eq!(
        answers.iter().filter(|(replayed, ..)| !replayed).count(),
        1,
        "one is the first"
    );
    assert!(
        answers
            .windows(2)
            .all(|pair| (&pair[0].1, &pair[0].2) == (&pair[1].1, &pair[1].2))
    );
    let counted: (i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from orders), (select count(*) from oncebox.outbox), \
                (select count(*) from order_timeline)",
    )
    .fetch_one(service.db.pool())
    .await
    .unwrap();
    assert_eq!(counted, (1, 2, 1));

    // The same order in another spelling is the same request; another quantity is not.
    let spelled = serde_json::to_string_pretty(&body).unwrap();
    let again = service
        .post("/v1/orders")
        .header("idempotency-key", "\"same-key\"")
        .header("content-type", "application/json; charset=utf-8")
        .body(spelled);
    let again = again.send().await.unwrap();
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(again.bytes().await.unwrap(), answers[0].2);
    let mut other = one_mug();
    other["lines"][0]["quantity"] = json!(1);
    other["total_minor"] = json!(450);
    let refused = service.submit("same-key", &other).send().await.unwrap();
    assert_eq!(refused.status(), 422);
    assert_eq!(
        json_of(refused).await["code"],
        "idempotency.payload_mismatch"
    );
    service.stop().await;
}

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once_and_nothing_is_kept() {
    let service = Service::start("wrong").await;
    let body = json!({
        "customer_id": "customer 1",
        "currency": "EURO",
        "lines": [
            {"product": "mug", "quantity": 0, "unit_price_minor": -5, "discount": 3},
            {"product": "mug", "quantity": "two", "unit_price_minor": 450},
        ],
        "coupon": "SAVE",
        "payment": {},
    });
    let response = service.submit("mended-later", &body).send().await.unwrap();
    assert_eq!(response.status(), 422);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let problem = json_of(response).await;
    assert_eq!(problem["code"], "request.invalid");
    let mut pointers: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    pointers.sort_unstable();
    assert_eq!(
        pointers,
        [
            "/coupon",
            "/currency",
            "/customer_id",
            "/lines/0/discount",
            "/lines/0/quantity",
            "/lines/0/unit_price_minor",
            "/lines/1/product",
            "/lines/1/quantity",
            "/payment/token",
        ]
    );
    // A refusal does not use up the key.
    let mended = service
        .submit("mended-later", &one_mug())
        .send()
        .await
        .unwrap();
    assert_eq!(mended.status(), 202);
    assert!(mended.headers().get("idempotent-replayed").is_none());
    service.stop().await;
}

#[tokio::test]
async fn a_request_of_the_wrong_form_is_refused_as_a_problem() {
    let service = Service::start("form").await;
    let no_key = service
        .post("/v1/orders")
        .json(&one_mug())
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            no_key.status().as_u16(),
            json_of(no_key).await["code"].clone()
        ),
        (400, json!("idempotency.key_missing"))
    );
    let post = |body: String| {
        let request = service.post("/v1/orders").header("idempotency-key", "k");
        request
            .header("content-type", "application/json")
            .body(body)
    };
    let broken = post("{\"customer_id\":".to_owned()).send().await.unwrap();
    assert_eq!(
        (
            broken.status().as_u16(),
            json_of(broken).await["code"].clone()
        ),
        (400, json!("request.json_syntax"))
    );
    let large = post(format!("\"{}\"", "x".repeat(2 << 20)))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            large.status().as_u16(),
            json_of(large).await["code"].clone()
        ),
        (413, json!("http.body_too_large"))
    );
    let text = service
        .post("/v1/orders")
        .header("idempotency-key", "k")
        .body("hello")
        .send()
        .await
        .unwrap();
    assert_eq!(text.status(), 415);
    service.stop().await;
}
