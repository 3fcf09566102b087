//! What goes out, and that it goes out once.

use crate::common::{Handling, cancelled, confirmed, delivery};
use crate::smtp::Smtp;

#[tokio::test]
async fn a_customer_gets_the_text_at_their_address() {
    let smtp = Smtp::start().await;
    let handling = Handling::new("sends", &smtp.url()).await;
    let event = confirmed(Some("ada@example.com"));
    let order = event.order_id;
    handling.process(&[delivery(event)]).await.unwrap();

    let taken = smtp.taken();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].recipient, "ada@example.com");
    let row = handling.row(order).await;
    let message = &taken[0].message;
    for part in [
        "From: Shop <orders@shop.example>\n".to_owned(),
        "To: ada@example.com\n".to_owned(),
        format!("Subject: Your order {order} is confirmed\n"),
        format!("Message-ID: <{}@shop.example>\n", row.id),
        "Auto-Submitted: auto-generated\n".to_owned(),
        "We have charged 12.50 EUR".to_owned(),
    ] {
        assert!(message.contains(&part), "{part:?} is missing in\n{message}");
    }
    assert_eq!(
        (
            row.channel.as_str(),
            row.status.as_str(),
            row.attempts,
            row.error
        ),
        ("email", "sent", 1, None)
    );
    assert!(row.sent_at.is_some());
    let events = handling.events(order).await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].0, "oncebox.notification.NotificationSent");
    assert_eq!(events[0].1["notification_id"], row.id.to_string());
    assert_eq!(events[0].1["recipient"], "ada@example.com");
}

#[tokio::test]
async fn what_is_delivered_again_is_sent_once_and_told_once() {
    let smtp = Smtp::start().await;
    let handling = Handling::new("again", &smtp.url()).await;
    let (yes, no) = (
        confirmed(Some("ada@example.com")),
        cancelled(Some("bob@example.com")),
    );
    // The same outcomes under different event ids: the inbox would not know them, the log does.
    let batch = [
        delivery(yes.clone()),
        delivery(no.clone()),
        delivery(yes.clone()),
    ];
    handling.process(&batch).await.unwrap();
    handling.process(&batch).await.unwrap();
    handling
        .process(&[delivery(no.clone()), delivery(yes.clone())])
        .await
        .unwrap();
    assert_eq!(smtp.taken().len(), 2);
    for (order, name) in [
        (yes.order_id, "order_confirmed"),
        (no.order_id, "order_cancelled"),
    ] {
        assert_eq!(handling.events(order).await.len(), 1);
        let row = handling.row(order).await;
        assert_eq!((row.template.as_str(), row.attempts), (name, 1));
    }
}

#[tokio::test]
async fn a_crash_between_the_phases_sends_once_and_tells_once() {
    let smtp = Smtp::start().await;
    let handling = Handling::new("crash", &smtp.url()).await;
    let event = confirmed(Some("ada@example.com"));
    let order = event.order_id;
    let batch = [delivery(event)];
    handling.prepare(&batch).await.unwrap();
    assert_eq!(handling.events(order).await.len(), 0, "not told yet");
    handling.prepare(&batch).await.unwrap();
    handling.handle_in_vain(&batch).await;
    handling.process(&batch).await.unwrap();
    assert_eq!(smtp.taken().len(), 1);
    assert_eq!(handling.events(order).await.len(), 1);
}

#[tokio::test]
async fn a_whole_batch_goes_over_few_connections() {
    let smtp = Smtp::start().await;
    let handling = Handling::new("batch", &smtp.url()).await;
    let batch: Vec<_> = (0..60)
        .map(|at| delivery(confirmed(Some(&format!("customer-{at}@example.com")))))
        .collect();
    handling.process(&batch).await.unwrap();
    let mut recipients: Vec<_> = smtp
        .taken()
        .into_iter()
        .map(|taken| taken.recipient)
        .collect();
    recipients.sort();
    recipients.dedup();
    assert_eq!(recipients.len(), 60);
    assert!(
        smtp.connections() <= 4,
        "{} connections",
        smtp.connections()
    );
}

#[tokio::test]
async fn without_a_server_or_an_address_the_log_is_the_channel() {
    let smtp = Smtp::start().await;
    let without_server = Handling::new("log", "").await;
    let with_server = Handling::new("log", &smtp.url()).await;
    for (handling, email, recipient) in [
        (&without_server, Some("ada@example.com"), "ada@example.com"),
        (&without_server, None, ""),
        (&with_server, None, ""),
    ] {
        let event = cancelled(email);
        let order = event.order_id;
        handling.process(&[delivery(event)]).await.unwrap();
        let row = handling.row(order).await;
        assert_eq!(
            (
                row.channel.as_str(),
                row.status.as_str(),
                row.recipient.as_str()
            ),
            ("log", "sent", recipient)
        );
        let events = handling.events(order).await;
        assert_eq!(
            (events.len(), events[0].1["recipient"].as_str()),
            (1, Some(""))
        );
    }
    assert_eq!(smtp.connections(), 0);
}
