//! Three orders and what becomes of them: confirmed, rejected for stock, and a dead letter that an operator can clear.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::bail;
use devstack::Say;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::http;

/// Where the services listen, and the replayer's token.
#[derive(Debug)]
pub(crate) struct Addresses {
    pub(crate) ports: BTreeMap<String, u16>,
    pub(crate) token: String,
}

/// A currency without a merchant account: the payment service cannot handle it until one is configured.
pub(crate) const BROKEN_CURRENCY: &str = "CHF";
const PATIENCE: Duration = Duration::from_secs(60);

/// How an order of the story ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Verdict(&'static str),
    DeadLetter,
}

impl Addresses {
    /// A URL of a service.
    pub(crate) fn url(&self, service: &str, path: &str) -> String {
        let port = self.ports.get(service).copied().unwrap_or_default();
        format!("http://127.0.0.1:{port}{path}")
    }
}

/// Tells it: prepares stock and accounts, submits, and says each step as it happens.
pub(crate) async fn tell(at: &Addresses, say: &Say) -> anyhow::Result<()> {
    let client = http::client()?;
    prepare(at, &client).await?;
    say.line("demo stock: 1000 mugs, 2 lamps; merchant accounts: EUR, USD");
    let story = [
        (
            "2 mugs in EUR",
            order("mug", 2, 450, "EUR"),
            End::Verdict("confirmed"),
        ),
        (
            "3 lamps of 2",
            order("lamp", 3, 2500, "EUR"),
            End::Verdict("rejected"),
        ),
        (
            "1 mug in CHF",
            order("mug", 1, 450, BROKEN_CURRENCY),
            End::DeadLetter,
        ),
    ];
    let mut followed = Vec::new();
    for (label, body, end) in story {
        let key = Uuid::new_v4().to_string();
        let headers = [("idempotency-key", key.as_str())];
        let url = at.url("order", "/v1/orders");
        let answer = http::call(&client, Method::POST, &url, &headers, Some(&body), &[]).await?;
        let Some(id) = answer.get("order_id").and_then(Value::as_str) else {
            bail!("{url} accepted an order and gave no order_id: {answer}");
        };
        say.line(&format!("{label}: submitted as order {id}"));
        followed.push(Follow {
            label,
            id: id.to_owned(),
            end,
            shown: 0,
            done: false,
        });
    }
    let begin = Instant::now();
    while followed.iter().any(|order| !order.done) {
        for order in followed.iter_mut().filter(|order| !order.done) {
            order.look(at, &client, say).await?;
        }
        if begin.elapsed() > PATIENCE {
            let open: Vec<_> = followed
                .iter()
                .filter(|order| !order.done)
                .map(|order| order.label)
                .collect();
            bail!(
                "no end after {} s: {}; see `cargo dev logs`",
                PATIENCE.as_secs(),
                open.join(", ")
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// One order that is followed to its end.
struct Follow {
    label: &'static str,
    id: String,
    end: End,
    shown: usize,
    done: bool,
}

impl Follow {
    async fn look(&mut self, at: &Addresses, client: &Client, say: &Say) -> anyhow::Result<()> {
        let url = at.url("order", &format!("/v1/orders/{}", self.id));
        let order = http::call(client, Method::GET, &url, &[], None, &[]).await?;
        let steps = http::call(
            client,
            Method::GET,
            &format!("{url}/events"),
            &[],
            None,
            &[],
        )
        .await?;
        let steps = steps
            .get("items")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        for step in steps.iter().skip(self.shown) {
            say.line(&format!("{}: {}", self.label, describe(step)));
        }
        self.shown = steps.len();
        match self.end {
            End::Verdict(wanted) => {
                let verdict = order
                    .get("verdict")
                    .and_then(Value::as_str)
                    .unwrap_or("pending");
                if verdict != "pending" {
                    if verdict != wanted {
                        bail!(
                            "{} was to be {wanted} and is {verdict}: {order}",
                            self.label
                        );
                    }
                    say.line(&format!("{}: {verdict}", self.label));
                    self.done = true;
                }
            }
            End::DeadLetter => self.done = self.dead_letter(at, client, say).await?,
        }
        Ok(())
    }

    async fn dead_letter(
        &self,
        at: &Addresses,
        client: &Client,
        say: &Say,
    ) -> anyhow::Result<bool> {
        let url = at.url("dlq-replayer", &format!("/v1/dlq/letters?key={}", self.id));
        let bearer = format!("Bearer {}", at.token);
        let letters = http::call(
            client,
            Method::GET,
            &url,
            &[("authorization", &bearer)],
            None,
            &[],
        )
        .await?;
        let Some(letter) = letters
            .get("items")
            .and_then(Value::as_array)
            .and_then(|items| items.first())
        else {
            return Ok(false);
        };
        say.line(&format!(
            "{}: dead letter {}: {}",
            self.label,
            text(letter, "id"),
            reason(letter)
        ));
        Ok(true)
    }
}

async fn prepare(at: &Addresses, client: &Client) -> anyhow::Result<()> {
    for (product, on_hand) in [("mug", 1000), ("lamp", 2)] {
        let url = at.url("inventory", "/v1/inventory");
        let body = json!({ "product": product, "on_hand": on_hand });
        // There already, from an earlier run: its stock is left as it is.
        http::call(
            client,
            Method::POST,
            &url,
            &[],
            Some(&body),
            &[StatusCode::CONFLICT],
        )
        .await?;
    }
    for currency in ["EUR", "USD"] {
        let url = at.url("payment", &format!("/v1/merchant-accounts/{currency}"));
        let body = json!({ "account": format!("merchant-{}", currency.to_lowercase()) });
        http::call(client, Method::PUT, &url, &[], Some(&body), &[]).await?;
    }
    // An earlier run's operator may have cleared the cause of the third order's failure.
    let url = at.url(
        "payment",
        &format!("/v1/merchant-accounts/{BROKEN_CURRENCY}"),
    );
    http::call(
        client,
        Method::DELETE,
        &url,
        &[],
        None,
        &[StatusCode::NOT_FOUND],
    )
    .await?;
    Ok(())
}

/// An order of one line, whose payment will be approved.
pub(crate) fn order(product: &str, quantity: i64, price: i64, currency: &str) -> Value {
    json!({
        "customer_id": "ada",
        "email": "ada@example.org",
        "currency": currency,
        "total_minor": quantity * price,
        "lines": [{ "product": product, "quantity": quantity, "unit_price_minor": price }],
        "payment": { "token": "tok_approved" },
    })
}

fn describe(step: &Value) -> String {
    let mut line = format!("{} ({})", text(step, "step"), text(step, "status"));
    if let Some(detail) = step.get("detail").and_then(Value::as_str) {
        line = format!("{line}, {detail}");
    }
    let commands: Vec<_> = step
        .get("commands")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if commands.is_empty() {
        line
    } else {
        format!("{line} -> {}", commands.join(", "))
    }
}

fn reason(letter: &Value) -> String {
    let error = letter.get("error").unwrap_or(letter);
    let code = [error, letter].iter().find_map(|at| {
        ["code", "error_code"]
            .iter()
            .find_map(|key| at.get(*key))
            .and_then(Value::as_str)
    });
    code.unwrap_or("see `cargo dev dlq show`").to_owned()
}

fn text(value: &Value, key: &str) -> String {
    match value.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "?".to_owned(),
    }
}
