//! The API on a real database.

use http_kit::service::Running;
use notification::Settings;
use notification::domain::{Channel, Recipient, Template};
use notification::store::intents::{Intent, open};
use notification::store::results::{Tried, store};
use reqwest::Client;
use serde_json::{Value, json};
use testkit::TestDb;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) struct Service {
    pub(crate) db: TestDb,
    pub(crate) prefix: String,
    running: Running,
    stop: CancellationToken,
    client: Client,
}

impl Service {
    pub(crate) async fn start(label: &str, smtp_url: &str) -> Self {
        let db = TestDb::empty(label).await;
        let prefix = testkit::topic_prefix();
        let mut settings: Settings = toml::from_str(notification::DEFAULTS).unwrap();
        settings.http_address = "127.0.0.1:0".to_owned();
        settings.database_url = db.url().to_owned();
        settings.kafka = testkit::kafka_address();
        settings.schema_registry = testkit::registry_address();
        settings.topic_prefix = prefix.clone();
        settings.log_filter = "warn".to_owned();
        settings.smtp_url = smtp_url.to_owned();
        settings.retry.first_delay_ms = 20;
        let stop = CancellationToken::new();
        let running = notification::start(settings, stop.clone()).await.unwrap();
        let client = Client::new();
        Self {
            db,
            prefix,
            running,
            stop,
            client,
        }
    }

    /// Status and body of an answer.
    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let url = format!("http://{}{path}", self.running.address());
        let response = self.client.get(url).send().await.unwrap();
        let status = response.status().as_u16();
        let body = response.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// The items of a list that fits one page.
    pub(crate) async fn list(&self, query: &str) -> Vec<Value> {
        let (status, page) = self.get(&format!("/v1/notifications?{query}")).await;
        assert_eq!(
            (status, &page["next"]),
            (200, &Value::Null),
            "{query}: {page}"
        );
        page["items"].as_array().unwrap().clone()
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.running.finished().await.unwrap();
    }

    /// A notification in the log; returns its id and its order.
    async fn note(&self, address: &str, template: Template) -> (String, String) {
        let order = Uuid::now_v7();
        let intent = Intent {
            order,
            template,
            channel: Channel::Email,
            recipient: Recipient::new(Some(address)),
            subject: "a subject".to_owned(),
        };
        let opened = open(self.db.pool(), &[intent]).await.unwrap();
        let id = opened[&(order, template)];
        (id.to_string(), order.to_string())
    }
}

fn ids(items: &[Value]) -> Vec<String> {
    let id = |item: &Value| item["notification_id"].as_str().unwrap().to_owned();
    items.iter().map(id).collect()
}

#[tokio::test]
async fn lists_page_newest_first_and_miss_nothing_while_others_arrive() {
    let service = Service::start("pages", "").await;
    let mut noted = Vec::new();
    for at in 0..5 {
        let address = format!("customer-{at}@example.com");
        noted.push(service.note(&address, Template::OrderConfirmed).await.0);
    }
    noted.reverse();
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/notifications?limit=2{cursor}");
        let (status, page) = service.get(&path).await;
        assert_eq!(status, 200, "{page}");
        pages.push(ids(page["items"].as_array().unwrap()));
        service
            .note("late@example.com", Template::OrderCancelled)
            .await;
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(pages.concat(), noted);
    service.stop().await;
}

#[tokio::test]
async fn filters_choose_by_address_order_and_status() {
    let service = Service::start("filters", "").await;
    let (yes, yes_order) = service
        .note("Ada@example.com", Template::OrderConfirmed)
        .await;
    let (no, no_order) = service
        .note("ada@example.com", Template::OrderCancelled)
        .await;
    let (bob, _) = service
        .note("bob@example.com", Template::OrderConfirmed)
        .await;
    let failed = Tried {
        id: no.parse().unwrap(),
        status: notification::domain::Status::Failed,
        counted: true,
        error: Some("refused: 550".to_owned()),
    };
    store(service.db.pool(), &[failed]).await.unwrap();
    for (query, wanted) in [
        ("recipient=ada@EXAMPLE.com".to_owned(), vec![&no, &yes]),
        (format!("order={yes_order}"), vec![&yes]),
        (
            format!("order={no_order}&recipient=bob@example.com"),
            vec![],
        ),
        ("status=failed".to_owned(), vec![&no]),
        ("status=pending".to_owned(), vec![&bob, &yes]),
        ("status=sent".to_owned(), vec![]),
    ] {
        let wanted: Vec<_> = wanted.into_iter().cloned().collect();
        assert_eq!(ids(&service.list(&query).await), wanted, "{query}");
    }
    let (status, shown) = service.get(&format!("/v1/notifications/{no}")).await;
    assert_eq!(status, 200);
    let created_at = shown["created_at"].clone();
    assert_eq!(
        shown,
        json!({
            "notification_id": no, "order_id": no_order, "channel": "email", "recipient": "ada@example.com",
            "template": "order_cancelled", "subject": "a subject", "status": "failed", "attempts": 1,
            "error": "refused: 550", "created_at": created_at, "sent_at": null,
        })
    );
    service.stop().await;
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let service = Service::start("wrong", "").await;
    for (query, name) in [
        ("recipient=", "recipient"),
        ("order=42", "order"),
        ("status=gone", "status"),
        ("limit=0", "limit"),
        ("cursor=xyz", "cursor"),
        ("recipent=ada@example.com", "recipent"),
    ] {
        let (status, problem) = service.get(&format!("/v1/notifications?{query}")).await;
        assert_eq!(status, 400, "{query}");
        assert_eq!(problem["code"], "request.query_invalid", "{query}");
        assert_eq!(
            problem["errors"][0]["parameter"], name,
            "{query}: {problem}"
        );
    }
    let (status, problem) = service
        .get(&format!("/v1/notifications/{}", Uuid::now_v7()))
        .await;
    assert_eq!(
        (status, &problem["code"]),
        (404, &json!("notification.not_found"))
    );
    assert_eq!(service.get("/v1/notifications/42").await.0, 400);
    for code in [
        "not_found",
        "smtp_away",
        "smtp_login_refused",
        "sender_refused",
        "deferred",
        "outcome_unknown",
        "refused",
        "not_prepared",
    ] {
        let (status, _) = service.get(&format!("/errors/notification.{code}")).await;
        assert_eq!(status, 200, "notification.{code} has no page");
    }
    service.stop().await;
}

#[tokio::test]
async fn every_filter_is_read_from_its_index() {
    let db = TestDb::empty("plans").await;
    notification::store::migrate(db.pool()).await.unwrap();
    // Enough rows that a scan would be the worse plan, in the share that is usual: few of them pending.
    sqlx::raw_sql(
        "insert into notification_log (id, order_id, channel, recipient, template, subject, status, sent_at)
         select uuidv7(), gen_random_uuid(), 'email', 'customer-' || n % 2000 || '@example.com', 'order_confirmed', 's',
                case when n % 200 = 0 then 'pending' else 'sent' end,
                case when n % 200 = 0 then null else now() end
         from generate_series(1, 10000) n;
         analyze notification_log",
    )
    .execute(db.pool())
    .await
    .unwrap();
    let order = Uuid::now_v7();
    for (condition, index) in [
        (
            "lower(recipient) = lower('Customer-7@example.com')".to_owned(),
            "notification_log_by_recipient",
        ),
        (
            format!("order_id = '{order}'"),
            "notification_log_order_id_template_key",
        ),
        ("status = 'pending'".to_owned(), "notification_log_pending"),
        (format!("id < '{order}'"), "notification_log_pkey"),
    ] {
        let explain = format!(
            "explain select * from notification_log where {condition} order by id desc limit 20"
        );
        let plan: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(explain))
            .fetch_all(db.pool())
            .await
            .unwrap();
        let plan = plan.join("\n");
        assert!(
            plan.contains(index),
            "{condition} is not served by {index}:\n{plan}"
        );
    }
}
