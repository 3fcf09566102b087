//! Stock over HTTP: what is accepted, what is refused and how, and who wins when two change it at once.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{Instance, World};

async fn patch(
    service: &Instance,
    product: &str,
    if_match: Option<&str>,
    body: Value,
) -> (u16, Value) {
    let mut request = service.request(Method::PATCH, &format!("/v1/inventory/{product}"));
    if let Some(tag) = if_match {
        request = request.header("if-match", tag);
    }
    let answer = request.json(&body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_is_kept_counted_and_listed() {
    let world = World::new("api").await;
    let service = world.start().await;

    let created = service
        .request(Method::POST, "/v1/inventory")
        .json(&json!({"product": "tea/green 100", "name": "Green tea", "on_hand": 40}))
        .send()
        .await
        .unwrap();
    assert_eq!(created.status(), StatusCode::CREATED);
    assert_eq!(created.headers()["etag"], "\"1\"");
    let location = created.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(location, "/v1/inventory/tea%2Fgreen%20100");
    let (status, found) = service.get(&location).await;
    assert_eq!(
        (status, &found["available"], &found["name"]),
        (200, &json!(40), &json!("Green tea"))
    );

    let again = json!({"product": "tea/green 100", "on_hand": 1});
    let (status, problem) = service
        .ask(Method::POST, "/v1/inventory", Some(again))
        .await;
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("inventory.product_exists"))
    );
    assert_eq!(
        service.get(&location).await.1["on_hand"],
        40,
        "the first stays as it was"
    );

    let wrong = json!({"product": "", "on_hand": -1, "name": "x\u{7}", "colour": "red"});
    let (status, problem) = service
        .ask(Method::POST, "/v1/inventory", Some(wrong))
        .await;
    assert_eq!(status, 422);
    let mut pointers: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    pointers.sort_unstable();
    assert_eq!(
        pointers,
        ["/colour", "/name", "/on_hand", "/product"],
        "all at once"
    );

    for product in ["a", "b", "c", "Z"] {
        service.stock(product, 1).await;
    }
    let (mut path, mut listed) = ("/v1/inventory?limit=2".to_owned(), Vec::new());
    loop {
        let (status, page) = service.get(&path).await;
        assert_eq!(status, 200, "{page}");
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        listed.extend(
            items
                .iter()
                .map(|item| item["product"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/inventory?limit=2&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(listed, ["Z", "a", "b", "c", "tea/green 100"]);
    let (status, problem) = service.get("/v1/inventory?cursor=forged").await;
    assert_eq!(
        (status, &problem["code"]),
        (400, &json!("request.query_invalid"))
    );

    for path in ["/v1/inventory/unheard-of", "/v1/inventory/te%00a"] {
        let (status, problem) = service.get(path).await;
        assert_eq!(
            (status, &problem["code"]),
            (404, &json!("inventory.product_not_found"))
        );
    }
    let (status, problem) = service
        .get(&format!("/v1/reservations/{}", Uuid::now_v7()))
        .await;
    assert_eq!(
        (status, &problem["code"]),
        (404, &json!("inventory.reservation_not_found"))
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_made_to_the_version_it_was_meant_for() {
    let world = World::new("versions").await;
    let service = world.start().await;
    service.stock("tea", 10).await;

    let (status, stock) = patch(&service, "tea", None, json!({"delta": -4})).await;
    assert_eq!(
        (status, &stock["on_hand"], &stock["version"]),
        (200, &json!(6), &json!(2))
    );
    let (status, problem) = patch(&service, "tea", None, json!({"on_hand": 9})).await;
    assert_eq!(
        (status, &problem["code"]),
        (428, &json!("inventory.version_required"))
    );
    for (tag, body) in [
        (Some("\"1\""), json!({"on_hand": 9})),
        (Some("\"1\""), json!({"delta": 9})),
        (None, json!({"on_hand": 9, "version": 1})),
        (Some("W/\"2\""), json!({"on_hand": 9})),
        (Some("\"2\""), json!({"on_hand": 9, "version": 3})),
    ] {
        let (status, problem) = patch(&service, "tea", tag, body.clone()).await;
        assert_eq!(
            (status, &problem["code"]),
            (412, &json!("inventory.version_conflict")),
            "{tag:?} {body}"
        );
        assert_eq!(problem["version"], 2);
    }
    assert_eq!(service.levels("tea").await, [6, 0, 6]);
    let (status, stock) = patch(
        &service,
        "tea",
        Some("\"2\""),
        json!({"on_hand": 9, "name": "Tea"}),
    )
    .await;
    assert_eq!(
        (status, &stock["on_hand"], &stock["name"]),
        (200, &json!(9), &json!("Tea"))
    );
    assert_eq!(
        patch(&service, "tea", Some("*"), json!({"on_hand": 8}))
            .await
            .0,
        200
    );

    for body in [
        json!({}),
        json!({"delta": 1, "on_hand": 2}),
        json!({"delta": "1"}),
        json!({"delta": 1.5}),
    ] {
        let (status, problem) = patch(&service, "tea", Some("*"), body.clone()).await;
        assert_eq!(
            (status, &problem["code"]),
            (422, &json!("request.invalid")),
            "{body}"
        );
    }
    assert_eq!(
        patch(&service, "mug", None, json!({"delta": 1})).await.0,
        404
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_never_goes_below_zero_or_below_what_is_held() {
    let world = World::new("levels").await;
    let service = world.start().await;
    service.stock("tea", 10).await;
    // Held by hand here; what reserves is tested where commands are.
    sqlx::query("update stock set reserved = 4 where product = 'tea'")
        .execute(world.db.pool())
        .await
        .unwrap();
    for body in [
        json!({"delta": -7}),
        json!({"delta": -11}),
        json!({"delta": i64::MIN}),
        json!({"delta": i64::MAX}),
        json!({"on_hand": 3, "version": 1}),
        json!({"on_hand": -1, "version": 1}),
    ] {
        let (status, problem) = patch(&service, "tea", None, body.clone()).await;
        assert_eq!(
            (status, &problem["code"]),
            (409, &json!("inventory.level_impossible")),
            "{body}"
        );
        assert_eq!(
            (&problem["on_hand"], &problem["reserved"]),
            (&json!(10), &json!(4))
        );
    }
    assert_eq!(
        patch(&service, "tea", None, json!({"delta": -6})).await.0,
        200
    );
    assert_eq!(service.levels("tea").await, [4, 4, 0]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_changes_at_once_none_is_lost() {
    let world = World::new("rivals").await;
    let service = world.start().await;
    service.stock("tea", 100).await;
    let deltas = (0..40).map(|n| {
        let delta = if n % 2 == 0 { 3 } else { -1 };
        patch(&service, "tea", None, json!({ "delta": delta }))
    });
    for (status, answer) in futures::future::join_all(deltas).await {
        assert_eq!(status, 200, "{answer}");
    }
    assert_eq!(service.levels("tea").await, [140, 0, 140]);

    // Of those who counted the same version, one wins; the others are told to look again.
    let counts = (0..10).map(|n| patch(&service, "tea", Some("\"41\""), json!({ "on_hand": n })));
    let statuses: Vec<u16> = futures::future::join_all(counts)
        .await
        .into_iter()
        .map(|(status, _)| status)
        .collect();
    assert_eq!(
        statuses.iter().filter(|status| **status == 200).count(),
        1,
        "{statuses:?}"
    );
    assert_eq!(
        statuses.iter().filter(|status| **status == 412).count(),
        9,
        "{statuses:?}"
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_tells_how_it_is_and_what_it_offers() {
    let world = World::new("health").await;
    let service = world.start().await;
    testkit::eventually("readiness with kafka", crate::world::DEADLINE, async || {
        let (status, health) = service.get("/health/ready").await;
        let text = health.to_string();
        for name in ["database", "kafka", "schema_registry"] {
            assert!(text.contains(name), "{text}");
        }
        (status == 200).then_some(())
    })
    .await;
    let (status, document) = service.get("/openapi.json").await;
    assert_eq!(status, 200);
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/v1/inventory",
        "/v1/inventory/{product}",
        "/v1/reservations/{order}",
    ] {
        assert!(paths.contains_key(path), "{path} is described");
    }
    service.stop().await;
}
