//! A mail server that refuses, defers, hangs up or is away.

use oncebox::ErrorClass;

use crate::common::{Handling, cancelled, confirmed, delivery, outage, to_blame};
use crate::smtp::{HANG_UP, SILENCE, Smtp};

#[tokio::test]
async fn a_recipient_that_is_refused_for_good_is_an_outcome_and_no_failure() {
    let smtp = Smtp::start().await;
    let handling = Handling::new("refused", &smtp.url()).await;
    smtp.answer(
        "RCPT TO:<nobody@",
        "550 5.1.1 <nobody@example.com>: no such mailbox",
    );
    let (bounced, fine) = (
        confirmed(Some("nobody@example.com")),
        confirmed(Some("ada@example.com")),
    );
    let nonsense = cancelled(Some("no address at all"));
    let batch = [
        delivery(bounced.clone()),
        delivery(fine.clone()),
        delivery(nonsense.clone()),
    ];
    handling.process(&batch).await.unwrap();
    smtp.accept_all();
    handling.process(&batch).await.unwrap();
    assert_eq!(smtp.taken().len(), 1, "what was refused is not tried again");

    let row = handling.row(bounced.order_id).await;
    let error = row.error.unwrap();
    assert_eq!((row.status.as_str(), row.attempts), ("failed", 1));
    assert!(
        error.contains("550") && error.contains("no such mailbox"),
        "{error}"
    );
    assert!(
        !error.contains("nobody@"),
        "the address is in the error: {error}"
    );
    let events = handling.events(bounced.order_id).await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].0, "oncebox.notification.NotificationFailed");
    assert_eq!(events[0].1["error"].as_str(), Some(error.as_str()));
    assert_eq!(handling.row(nonsense.order_id).await.status, "failed");
    assert_eq!(handling.row(fine.order_id).await.status, "sent");
}

#[tokio::test]
async fn a_content_that_is_refused_for_good_is_an_outcome_too() {
    let smtp = Smtp::start().await;
    let handling = Handling::new("spam", &smtp.url()).await;
    smtp.answer(".", "554 5.7.1 looks like spam");
    let event = confirmed(Some("ada@example.com"));
    let order = event.order_id;
    handling.process(&[delivery(event)]).await.unwrap();
    let row = handling.row(order).await;
    assert_eq!(row.status, "failed");
    assert!(row.error.unwrap().contains("looks like spam"));
}

#[tokio::test]
async fn a_deferred_message_is_its_own_records_failure_and_goes_out_later() {
    let smtp = Smtp::start().await;
    let handling = Handling::new("deferred", &smtp.url()).await;
    let (fine, busy) = (
        confirmed(Some("ada@example.com")),
        confirmed(Some("busy@example.com")),
    );
    let batch = [delivery(fine.clone()), delivery(busy.clone())];
    for (stage, attempts) in [("RCPT TO:<busy@", 1), (".", 2)] {
        smtp.answer(stage, "451 4.7.1 try again later");
        let (index, failure) = to_blame(handling.process(&batch).await);
        assert_eq!(
            (index, failure.class, failure.code),
            (1, ErrorClass::Transient, "notification.deferred")
        );
        assert!(!failure.message.contains("busy@"), "{}", failure.message);
        let row = handling.row(busy.order_id).await;
        assert_eq!((row.status.as_str(), row.attempts), ("pending", attempts));
        assert!(row.error.unwrap().contains("try again later"));
        smtp.accept_all();
    }
    assert_eq!(handling.row(fine.order_id).await.status, "sent");
    handling.process(&batch).await.unwrap();
    let row = handling.row(busy.order_id).await;
    assert_eq!(
        (row.status.as_str(), row.attempts, row.error),
        ("sent", 3, None)
    );
    assert_eq!(smtp.taken().len(), 2);
}

#[tokio::test]
async fn an_outage_is_waited_for_and_counts_nothing() {
    let smtp = Smtp::start().await;
    let handling = Handling::hurried("outage", &smtp.url_with_login()).await;
    let event = confirmed(Some("ada@example.com"));
    let order = event.order_id;
    let batch = [
        delivery(event),
        delivery(confirmed(Some("bob@example.com"))),
    ];
    for (stage, reply, code) in [
        ("connect", "554 no service here", "notification.smtp_away"),
        ("connect", "421 too busy", "notification.smtp_away"),
        ("connect", HANG_UP, "notification.smtp_away"),
        ("connect", SILENCE, "notification.smtp_away"),
        (
            "AUTH",
            "535 5.7.8 wrong password",
            "notification.smtp_login_refused",
        ),
        ("AUTH", "454 4.7.0 not now", "notification.smtp_away"),
        (
            "MAIL",
            "550 5.7.1 not your address",
            "notification.sender_refused",
        ),
        ("MAIL", "452 4.3.1 disk full", "notification.smtp_away"),
        ("RCPT", "421 closing", "notification.smtp_away"),
        (".", "421 closing", "notification.smtp_away"),
    ] {
        smtp.answer(stage, reply);
        assert_eq!(
            outage(handling.process(&batch).await),
            code,
            "{stage}: {reply}"
        );
        let row = handling.row(order).await;
        assert_eq!(
            (row.status.as_str(), row.attempts),
            ("pending", 0),
            "{stage}: {reply}"
        );
        smtp.accept_all();
    }
    assert_eq!(smtp.taken().len(), 0);
    handling.process(&batch).await.unwrap();
    assert_eq!(smtp.taken().len(), 2);
    assert_eq!(handling.row(order).await.attempts, 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_outage_until_another_is_set() {
    let url = format!("smtp://127.0.0.1:{}", testkit::free_port());
    let mut handling = Handling::new("away", &url).await;
    let event = confirmed(Some("ada@example.com"));
    let order = event.order_id;
    let batch = [delivery(event)];
    assert_eq!(
        outage(handling.process(&batch).await),
        "notification.smtp_away"
    );
    let row = handling.row(order).await;
    assert_eq!(
        (row.status.as_str(), row.channel.as_str()),
        ("pending", "email")
    );
    // The operator gives up on email: what waits goes out the other way, under its old id.
    handling.reconfigure("");
    handling.process(&batch).await.unwrap();
    let after = handling.row(order).await;
    assert_eq!(
        (after.status.as_str(), after.channel.as_str()),
        ("sent", "log")
    );
    assert_eq!(after.id, row.id);
}

#[tokio::test]
async fn silence_after_the_message_is_counted_and_tried_again() {
    let smtp = Smtp::start().await;
    let handling = Handling::hurried("silence", &smtp.url()).await;
    let event = confirmed(Some("ada@example.com"));
    let order = event.order_id;
    let batch = [delivery(event)];
    for (reply, attempts) in [(HANG_UP, 1), (SILENCE, 2)] {
        smtp.answer(".", reply);
        let (_, failure) = to_blame(handling.process(&batch).await);
        assert_eq!(
            (failure.class, failure.code),
            (ErrorClass::Transient, "notification.outcome_unknown")
        );
        assert_eq!(handling.row(order).await.attempts, attempts);
        smtp.accept_all();
    }
    handling.process(&batch).await.unwrap();
    assert_eq!(handling.row(order).await.status, "sent");
}

#[tokio::test]
async fn a_connection_that_the_server_closed_meanwhile_is_replaced() {
    let smtp = Smtp::start().await;
    let handling = Handling::new("stale", &smtp.url()).await;
    let batch = [delivery(confirmed(Some("ada@example.com")))];
    handling.process(&batch).await.unwrap();
    // The kept connection ends at the question whether it still works.
    smtp.answer("NOOP", HANG_UP);
    let batch = [delivery(confirmed(Some("bob@example.com")))];
    handling.process(&batch).await.unwrap();
    assert_eq!((smtp.taken().len(), smtp.connections()), (2, 2));
}
