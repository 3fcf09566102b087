//! What is refused, where the pointer points, and that nothing hides behind something else.

use serde_json::{Value, json};

use super::*;

fn good() -> Value {
    json!({
        "customer_id": "customer-1",
        "currency": "EUR",
        "lines": [
            {"product": "mug", "quantity": 2, "unit_price_minor": 450},
            {"product": "tea", "quantity": 1, "unit_price_minor": 0},
        ],
        "total_minor": 900,
        "email": "ada@example.com",
        "payment": {"token": "tok_approved"},
    })
}

fn pointers(body: &Value) -> Vec<String> {
    Submission::parse(body)
        .unwrap_err()
        .into_iter()
        .map(|error| error.pointer)
        .collect()
}

/// The errors of the good order with one place changed.
fn changed(pointer: &str, value: Value) -> Vec<String> {
    let mut body = good();
    *body.pointer_mut(pointer).unwrap() = value;
    pointers(&body)
}

#[test]
fn a_good_order_is_taken_whole() {
    let order = Submission::parse(&good()).unwrap();
    assert_eq!(order.total.minor(), 900);
    assert_eq!(order.lines.len(), 2);
    assert_eq!(order.email.as_deref(), Some("ada@example.com"));
    assert_eq!(order.payment_token.reveal(), "tok_approved");
    assert!(
        !format!("{order:?}").contains("tok_approved"),
        "debug output shows the token"
    );
}

#[test]
fn total_and_email_may_be_left_out_or_null() {
    let mut body = good();
    body["email"] = Value::Null;
    body.as_object_mut().unwrap().remove("total_minor");
    let order = Submission::parse(&body).unwrap();
    assert_eq!((order.total.minor(), order.email), (900, None));
}

#[test]
fn each_rule_points_at_its_place() {
    let most = i64::MAX;
    let cases = [
        ("/customer_id", json!(""), "/customer_id"),
        ("/customer_id", json!("a b"), "/customer_id"),
        ("/customer_id", json!("x".repeat(65)), "/customer_id"),
        ("/customer_id", json!(7), "/customer_id"),
        ("/currency", json!("XXX"), "/currency"),
        ("/currency", json!("eur"), "/currency"),
        ("/lines", json!([]), "/lines"),
        ("/lines", json!({}), "/lines"),
        ("/lines", Value::Null, "/lines"),
        (
            "/lines",
            json!([{"product": "gift", "quantity": 1, "unit_price_minor": 0}]),
            "/lines",
        ),
        ("/lines/0", json!("mug"), "/lines/0"),
        ("/lines/0/product", json!("tea/green"), "/lines/0/product"),
        ("/lines/1/product", json!("mug"), "/lines/1/product"),
        ("/lines/0/quantity", json!(0), "/lines/0/quantity"),
        ("/lines/0/quantity", json!(-1), "/lines/0/quantity"),
        ("/lines/0/quantity", json!(10_001), "/lines/0/quantity"),
        ("/lines/0/quantity", json!(1.5), "/lines/0/quantity"),
        ("/lines/0/quantity", json!("2"), "/lines/0/quantity"),
        ("/lines/0/quantity", json!(u64::MAX), "/lines/0/quantity"),
        (
            "/lines/0/unit_price_minor",
            json!(-450),
            "/lines/0/unit_price_minor",
        ),
        (
            "/lines/0/unit_price_minor",
            json!(most),
            "/lines/0/unit_price_minor",
        ),
        ("/total_minor", json!(901), "/total_minor"),
        ("/total_minor", json!(9.0), "/total_minor"),
        ("/email", json!("nobody"), "/email"),
        ("/email", json!("a@b"), "/email"),
        ("/email", json!("a b@example.com"), "/email"),
        (
            "/email",
            json!("a@example.com\r\nBcc: b@example.com"),
            "/email",
        ),
        ("/payment", json!({}), "/payment/token"),
        ("/payment", Value::Null, "/payment"),
        ("/payment/token", json!(""), "/payment/token"),
        ("/payment/token", json!("tok en"), "/payment/token"),
    ];
    for (pointer, value, wanted) in cases {
        assert_eq!(
            changed(pointer, value.clone()),
            [wanted],
            "{pointer} = {value}"
        );
    }
}

#[test]
fn a_sum_that_overflows_is_an_error_of_the_lines() {
    let half = i64::MAX / 2 + 1;
    let lines = json!([
        {"product": "a", "quantity": 1, "unit_price_minor": half},
        {"product": "b", "quantity": 1, "unit_price_minor": half},
    ]);
    assert_eq!(changed("/lines", lines), ["/lines"]);
}

#[test]
fn lines_are_counted() {
    let lines = |count| {
        let line = |at| json!({"product": format!("p{at}"), "quantity": 1, "unit_price_minor": 9});
        Value::Array((0..count).map(line).collect())
    };
    let mut body = good();
    body["total_minor"] = Value::Null;
    body["lines"] = lines(LINES_MAX);
    assert!(Submission::parse(&body).is_ok());
    body["lines"] = lines(LINES_MAX + 1);
    assert_eq!(pointers(&body), ["/lines"]);
}

#[test]
fn everything_is_reported_at_once() {
    let body = json!({
        "currency": "euro",
        "lines": [
            {"product": "mug", "quantity": 0, "unit_price_minor": -1},
            {"product": "mug", "quantity": 1, "unit_price_minor": 5, "colour": "red"},
        ],
        "email": 5,
        "a/b~c": true,
    });
    let mut found = pointers(&body);
    found.sort();
    assert_eq!(
        found,
        [
            "/a~1b~0c",
            "/currency",
            "/customer_id",
            "/email",
            "/lines/0/quantity",
            "/lines/0/unit_price_minor",
            "/lines/1/colour",
            "/lines/1/product",
            "/payment",
        ]
    );
}

#[test]
fn a_body_that_is_no_object_is_one_error() {
    assert_eq!(pointers(&json!([])), [""]);
}
