//! Keeps a greeting and writes the event about it, in one transaction; the relay of `cargo dev up` publishes it.
//!
//! `cargo run --example producer -- Ada`

use oncebox::kafka::{TopicSpec, ensure_topics};
use oncebox::{Codec, Event, Outbox};
use sqlx::Connection as _;

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Greeted {
    name: String,
}

oncebox::event! {
    Greeted = "example.Greeted" on "example.greetings" keyed by |event| event.name.clone(),
    schema r#"{"type": "record", "name": "Greeted", "namespace": "example",
               "fields": [{"name": "name", "type": "string"}]}"#
}

/// A database whose outbox the relay reads.
const DATABASE: &str = "postgres://postgres@127.0.0.1:5433/oncebox_order";
const REGISTRY: &str = "http://127.0.0.1:8087/apis/ccompat/v7";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let topic = TopicSpec {
        name: Greeted::TOPIC.into(),
        partitions: 3,
        replication: 1,
        config: Vec::new(),
    };
    ensure_topics("127.0.0.1:9092", &[topic]).await?;
    let name = std::env::args().nth(1).unwrap_or_else(|| "world".into());
    let outbox = Outbox::new(Codec::new(REGISTRY, None)?, "example", "");
    let mut connection = sqlx::PgConnection::connect(DATABASE).await?;
    let mut tx = connection.begin().await?;
    sqlx::query("create table if not exists greetings (name text)")
        .execute(&mut *tx)
        .await?;
    sqlx::query("insert into greetings values ($1)")
        .bind(&name)
        .execute(&mut *tx)
        .await?;
    let event = outbox.append(&mut tx, &Greeted { name }).await?;
    tx.commit().await?;
    println!("event {event:?} is in the outbox");
    Ok(())
}
