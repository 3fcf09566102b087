//! Answers that come over a real Kafka.

use std::time::Duration;

use oncebox::{Event, Headers};
use schemas::inventory::{StockCommitted, StockReserved};
use schemas::payment::{PaymentAuthorized, PaymentCaptured};
use testkit::kafka::Sender;

use crate::common::{Service, one_mug};

/// Publishes `event` as the relay of another service would, twice.
async fn publish<E: Event>(service: &Service, sender: &Sender, event: &E) {
    let value = service.outbox.codec().encode(event).await.unwrap();
    let mut headers = Headers::new();
    headers.push("id", oncebox::EventId::new().to_string());
    headers.push("oncebox-correlation-id", "over-kafka");
    let topic = format!("{}{}", service.prefix, E::TOPIC);
    for _ in 0..2 {
        sender
            .send(
                &topic,
                None,
                Some(event.key().as_bytes()),
                Some(&value),
                &headers,
            )
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_over_kafka_carry_an_order_to_its_verdict() {
    let service = Service::start("kafka").await;
    // The topics appear while the service already runs, as on a cluster that is being set up.
    let names: Vec<String> = ["inventory.events", "payment.events"]
        .iter()
        .flat_map(|topic| {
            let topic = format!("{}{topic}", service.prefix);
            [
                oncebox::dead_letter::replay_topic(&topic, order::SERVICE),
                topic,
            ]
        })
        .collect();
    testkit::kafka::create_topics(&names.iter().map(String::as_str).collect::<Vec<_>>(), 2).await;
    let order_id = service.place(&one_mug()).await;
    let sender = Sender::new();
    let status = async |wanted: &str| {
        testkit::eventually(
            &format!("the order to be {wanted}"),
            Duration::from_secs(60),
            async || (service.order(order_id).await["status"] == wanted).then_some(()),
        )
        .await;
    };
    publish(&service, &sender, &StockReserved { order_id }).await;
    status("RESERVED").await;
    let authorization_id = "authorization-1".to_owned();
    publish(
        &service,
        &sender,
        &PaymentAuthorized {
            order_id,
            authorization_id,
        },
    )
    .await;
    status("AUTHORIZED").await;
    publish(&service, &sender, &StockCommitted { order_id }).await;
    publish(
        &service,
        &sender,
        &PaymentCaptured {
            order_id,
            capture_id: "capture-1".to_owned(),
        },
    )
    .await;
    status("PAID").await;
    assert_eq!(
        service.sent(order_id).await.last().map(String::as_str),
        Some("OrderConfirmed")
    );
    assert_eq!(
        service.steps(order_id).await.len(),
        6,
        "a record that came twice left two steps"
    );
    service.stop().await;
}
