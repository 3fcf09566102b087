//! Lists, single orders and what is not there.

use crate::common::{Service, json_of, one_mug};
use serde_json::{Value, json};
use uuid::Uuid;

async fn of_customer(service: &Service, customer: &str) -> Uuid {
    let mut body = one_mug();
    body["customer_id"] = json!(customer);
    service.place(&body).await
}

/// Every id of a list, page by page.
async fn walk(service: &Service, path: &str) -> Vec<Vec<String>> {
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = json_of(
            service
                .get(&format!("{path}{cursor}"))
                .send()
                .await
                .unwrap(),
        )
        .await;
        let items = page["items"].as_array().unwrap();
        pages.push(
            items
                .iter()
                .map(|item| item["order_id"].as_str().unwrap().to_owned())
                .collect(),
        );
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return pages,
        }
    }
}

#[tokio::test]
async fn lists_page_newest_first_and_miss_nothing_while_orders_arrive() {
    let service = Service::start("pages").await;
    let mut placed = Vec::new();
    for at in 0..5 {
        placed.push(
            of_customer(&service, if at == 2 { "bob" } else { "ada" })
                .await
                .to_string(),
        );
    }
    placed.reverse();
    let pages = walk(&service, "/v1/orders?limit=2").await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(pages.concat(), placed);

    let first = json_of(service.get("/v1/orders?limit=2").send().await.unwrap()).await;
    of_customer(&service, "late").await;
    let next = format!(
        "/v1/orders?limit=2&cursor={}",
        first["next"].as_str().unwrap()
    );
    let second = json_of(service.get(&next).send().await.unwrap()).await;
    assert_eq!(second["items"][0]["order_id"], json!(placed[2]));

    let bobs = walk(&service, "/v1/customers/bob/orders?limit=1").await;
    assert_eq!(bobs, [vec![placed[2].clone()]]);
    assert_eq!(
        walk(&service, "/v1/customers/nobody/orders?limit=1")
            .await
            .concat(),
        Vec::<String>::new()
    );
    service.stop().await;
}

#[tokio::test]
async fn filters_choose_and_unknown_ones_are_refused() {
    let service = Service::start("filters").await;
    let (open, off) = (
        service.place(&one_mug()).await,
        service.place(&one_mug()).await,
    );
    assert_eq!(service.cancel(off, "test").await.status(), 200);
    for (filter, wanted) in [
        ("status=CREATED", vec![open]),
        ("status=CANCELLED", vec![off]),
        ("verdict=cancelled", vec![off]),
        ("verdict=pending&status=CREATED", vec![open]),
        ("status=PAID", vec![]),
    ] {
        let wanted: Vec<_> = wanted.iter().map(Uuid::to_string).collect();
        assert_eq!(
            walk(&service, &format!("/v1/orders?{filter}"))
                .await
                .concat(),
            wanted,
            "{filter}"
        );
    }
    for (wrong, name) in [
        ("status=paid", "status"),
        ("verdict=maybe", "verdict"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("cursor=xyz", "cursor"),
        ("page=2", "page"),
    ] {
        let response = service
            .get(&format!("/v1/orders?{wrong}"))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 400, "{wrong}");
        let problem = json_of(response).await;
        assert_eq!(problem["code"], "request.query_invalid", "{wrong}");
        assert_eq!(
            problem["errors"][0]["parameter"], name,
            "{wrong}: {problem}"
        );
    }
    service.stop().await;
}

#[tokio::test]
async fn an_etag_spares_the_body_until_something_changes() {
    let service = Service::start("etag").await;
    let order = service.place(&one_mug()).await;
    let path = format!("/v1/orders/{order}");
    let first = service.get(&path).send().await.unwrap();
    let tag = first.headers()["etag"].to_str().unwrap().to_owned();
    let again = service
        .get(&path)
        .header("if-none-match", &tag)
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            again.status().as_u16(),
            again.headers()["etag"].to_str().unwrap()
        ),
        (304, tag.as_str())
    );
    assert_eq!(service.cancel(order, "test").await.status(), 200);
    let changed = service
        .get(&path)
        .header("if-none-match", &tag)
        .send()
        .await
        .unwrap();
    assert_eq!(changed.status(), 200);
    assert_ne!(changed.headers()["etag"].to_str().unwrap(), tag);
    service.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_404_and_what_is_no_id_is_400() {
    let service = Service::start("missing").await;
    let nowhere = Uuid::now_v7();
    for path in [
        format!("/v1/orders/{nowhere}"),
        format!("/v1/orders/{nowhere}/events"),
    ] {
        let response = service.get(&path).send().await.unwrap();
        assert_eq!(response.status(), 404);
        let problem = json_of(response).await;
        assert_eq!(
            (&problem["code"], &problem["type"]),
            (&json!("order.not_found"), &json!("/errors/order.not_found"))
        );
    }
    assert_eq!(service.cancel(nowhere, "test").await.status(), 404);
    assert_eq!(
        service.get("/v1/orders/42").send().await.unwrap().status(),
        400
    );
    assert_eq!(
        service
            .get("/v1/customers/a%20b/orders")
            .send()
            .await
            .unwrap()
            .status(),
        400
    );
    let page = service.get("/errors/order.not_found").send().await.unwrap();
    assert_eq!(page.status(), 200, "a problem's type leads to its page");
    service.stop().await;
}

#[tokio::test]
async fn lists_are_read_from_an_index_without_sorting() {
    let service = Service::start("plans").await;
    let order = "order by order_id desc limit 20";
    for (condition, index) in [
        (
            "customer_id = 'a' and order_id < gen_random_uuid()",
            "orders_by_customer",
        ),
        (
            "verdict = 'confirmed' and status = 'PAID'",
            "orders_by_verdict",
        ),
        (
            "verdict in ('rejected', 'cancelled') and status = 'CANCELLED'",
            "orders_called_off",
        ),
        ("true", "orders_pkey"),
    ] {
        let mut tx = service.db.pool().begin().await.unwrap();
        // An empty table is read whole, whatever its indexes are.
        sqlx::query("set local enable_seqscan = off")
            .execute(&mut *tx)
            .await
            .unwrap();
        sqlx::query("set local enable_bitmapscan = off")
            .execute(&mut *tx)
            .await
            .unwrap();
        let plan: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "explain select * from orders where {condition} {order}"
        )))
        .fetch_all(&mut *tx)
        .await
        .unwrap();
        let plan = plan.join("\n");
        assert!(
            plan.contains(index) && !plan.contains("Sort"),
            "{condition}:\n{plan}"
        );
    }
    service.stop().await;
}

#[tokio::test]
async fn the_api_describes_itself() {
    let service = Service::start("openapi").await;
    let document: Value = json_of(service.get("/openapi.json").send().await.unwrap()).await;
    let paths: Vec<_> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    for path in [
        "/v1/orders",
        "/v1/orders/{order_id}",
        "/v1/orders/{order_id}/cancel",
        "/v1/orders/{order_id}/events",
        "/v1/customers/{customer_id}/orders",
    ] {
        assert!(paths.contains(&path), "{path} is not in {paths:?}");
    }
    for reference in references(&document) {
        let place = reference.trim_start_matches('#');
        assert!(
            document.pointer(place).is_some(),
            "{reference} leads nowhere"
        );
    }
    let example = &document["components"]["schemas"]["OrderSubmission"]["example"];
    let taken = service.submit("the-example", example).send().await.unwrap();
    assert_eq!(
        taken.status(),
        202,
        "the example of the description is not accepted"
    );
    service.stop().await;
}

/// Every `$ref` of a document.
fn references(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(fields) => {
            let here = fields.get("$ref").and_then(Value::as_str);
            here.into_iter()
                .chain(fields.values().flat_map(references))
                .collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}
