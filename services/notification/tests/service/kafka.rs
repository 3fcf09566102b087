//! The whole service: outcomes over a real Kafka, messages over SMTP, the log over HTTP.

use std::time::Duration;

use chrono::Utc;
use oncebox::{Codec, Event, EventId, Headers};
use schemas::order::{OrderLine, OrderPlaced};
use serde_json::Value;
use testkit::kafka::Sender;

use crate::common::{cancelled, confirmed};
use crate::listing::Service;
use crate::smtp::Smtp;

/// Publishes `event` as the relay of another service would, twice.
async fn publish<E: Event>(service: &Service, codec: &Codec, sender: &Sender, event: &E) {
    let value = codec.encode(event).await.unwrap();
    let mut headers = Headers::new();
    headers.push("id", EventId::new().to_string());
    headers.push("oncebox-correlation-id", "over-kafka");
    let topic = format!("{}{}", service.prefix, E::TOPIC);
    let key = event.key();
    for _ in 0..2 {
        sender
            .send(&topic, None, Some(key.as_bytes()), Some(&value), &headers)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcomes_over_kafka_reach_their_customers_once() {
    let smtp = Smtp::start().await;
    smtp.answer("RCPT TO:<nobody@", "550 5.1.1 no such mailbox");
    smtp.answer("RCPT TO:<busy@", "451 4.7.1 later");
    let service = Service::start("kafka", &smtp.url()).await;
    let topic = format!("{}order.events", service.prefix);
    let replay = oncebox::dead_letter::replay_topic(&topic, notification::SERVICE);
    testkit::kafka::create_topics(&[&topic, &replay], 2).await;
    let codec = Codec::new(&testkit::registry_address(), None).unwrap();
    let sender = Sender::new();

    let told = confirmed(Some("ada@example.com"));
    let placed = OrderPlaced {
        order_id: told.order_id,
        customer_id: told.customer_id.clone(),
        lines: vec![OrderLine {
            product: "mug".to_owned(),
            quantity: 1,
            unit_price_minor: 1_250,
        }],
        total_minor: 1_250,
        currency: "EUR".to_owned(),
        email: told.email.clone(),
        placed_at: Utc::now(),
    };
    let bounced = cancelled(Some("nobody@example.com"));
    let busy = cancelled(Some("busy@example.com"));
    publish(&service, &codec, &sender, &placed).await;
    publish(&service, &codec, &sender, &told).await;
    publish(&service, &codec, &sender, &bounced).await;
    publish(&service, &codec, &sender, &busy).await;

    let became = async |order: uuid::Uuid, status: &str, attempts: i64| -> Value {
        let what = format!("{order} to be {status} after at least {attempts} tries");
        testkit::eventually(&what, Duration::from_secs(60), async || {
            let items = service.list(&format!("order={order}")).await;
            let item = items.into_iter().next()?;
            let tried = item["attempts"].as_i64().unwrap() >= attempts;
            (item["status"] == status && tried).then_some(item)
        })
        .await
    };
    became(busy.order_id, "pending", 2).await;
    smtp.accept_all();
    became(busy.order_id, "sent", 3).await;
    became(told.order_id, "sent", 1).await;
    let failed = became(bounced.order_id, "failed", 1).await;
    assert!(
        failed["error"]
            .as_str()
            .unwrap()
            .contains("no such mailbox"),
        "{failed}"
    );

    // Everything is told once it is handled; every record came twice and one came with a third type.
    let told_of = async || -> Vec<String> {
        sqlx::query_scalar("select headers->>'ce_type' from oncebox.outbox order by 1")
            .fetch_all(service.db.pool())
            .await
            .unwrap()
    };
    testkit::eventually("three events", Duration::from_secs(30), async || {
        (told_of().await.len() == 3).then_some(())
    })
    .await;
    assert_eq!(
        told_of().await,
        [
            "oncebox.notification.NotificationFailed",
            "oncebox.notification.NotificationSent",
            "oncebox.notification.NotificationSent",
        ]
    );
    let mut recipients: Vec<_> = smtp
        .taken()
        .into_iter()
        .map(|taken| taken.recipient)
        .collect();
    recipients.sort();
    assert_eq!(recipients, ["ada@example.com", "busy@example.com"]);
    service.stop().await;
}
