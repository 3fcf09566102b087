//! Counts greetings by name, each event once whatever happens; `producer` writes them.
//!
//! `cargo run --example consumer`, beside `cargo dev up`; Ctrl-C ends it.

use async_trait::async_trait;
use oncebox::{Codec, Consumer, ConsumerSettings, Delivery, Each, Failure, Handler};
use sqlx::{PgConnection, PgPool};

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Greeted {
    name: String,
}

oncebox::event! {
    Greeted = "example.Greeted" on "example.greetings" keyed by |event| event.name.clone(),
    schema r#"{"type": "record", "name": "Greeted", "namespace": "example",
               "fields": [{"name": "name", "type": "string"}]}"#
}
oncebox::messages! {
    enum Message { Greeted }
    others dead_letter
}

struct Count;

#[async_trait]
impl Handler for Count {
    type Message = Message;

    async fn handle(
        &self,
        tx: &mut PgConnection,
        delivery: &Delivery<Message>,
    ) -> Result<(), Failure> {
        let Message::Greeted(Greeted { name }) = &delivery.message;
        let count = "insert into greeted values ($1, 1) on conflict (name) do update set times = greeted.times + 1 returning times";
        let times: i32 = sqlx::query_scalar(count).bind(name).fetch_one(tx).await?;
        println!("{name} was greeted {times} times");
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = PgPool::connect("postgres://postgres@127.0.0.1:5433/oncebox_order").await?;
    oncebox::migrate(&pool).await?;
    sqlx::query("create table if not exists greeted (name text primary key, times integer)")
        .execute(&pool)
        .await?;
    let codec = Codec::new("http://127.0.0.1:8087/apis/ccompat/v7", None)?;
    let settings = ConsumerSettings::new("127.0.0.1:9092", "example", ["example.greetings"]);
    let stop = tokio_util::sync::CancellationToken::new();
    let consuming =
        tokio::spawn(Consumer::new(settings, pool, codec, "1", Each(Count)).run(stop.clone()));
    tokio::signal::ctrl_c().await?;
    stop.cancel();
    Ok(consuming.await??)
}
