//! The delivery kit: what a service on PostgreSQL and Apache Kafka needs so that no event is lost,
//! none takes effect twice, and whatever could not be processed is kept, explained and replayable.
//!
//! # Start
//!
//! A service needs a database, in which [`migrate`] makes the kit's tables (schema `oncebox`), and next to it a relay, which
//! publishes what the service writes there. Events are types, declared once with their schema and topic:
//!
//! ```
//! #[derive(Debug, serde::Serialize, serde::Deserialize)]
//! pub struct Greeted {
//!     name: String,
//! }
//!
//! oncebox::event! {
//!     Greeted = "demo.Greeted" on "demo.greetings" keyed by |event| event.name.clone(),
//!     schema r#"{"type": "record", "name": "Greeted", "namespace": "demo",
//!                "fields": [{"name": "name", "type": "string"}]}"#
//! }
//! ```
//!
//! It writes them in the transaction of whatever they tell of, so both are there or neither is. Events of one key are
//! published in the order in which their transactions committed, each once:
//!
//! ```
//! # #[derive(Debug, serde::Serialize, serde::Deserialize)]
//! # pub struct Greeted { name: String }
//! # oncebox::event! {
//! #     Greeted = "demo.Greeted" on "demo.greetings" keyed by |event| event.name.clone(),
//! #     schema r#"{"type": "record", "name": "Greeted", "namespace": "demo", "fields": [{"name": "name", "type": "string"}]}"#
//! # }
//! async fn greet(pool: &sqlx::PgPool, outbox: &oncebox::Outbox) -> Result<(), Box<dyn std::error::Error>> {
//!     let mut tx = pool.begin().await?;
//!     // Whatever else belongs to it.
//!     outbox.append(&mut tx, &Greeted { name: "Ada".into() }).await?;
//!     tx.commit().await?;
//!     Ok(())
//! }
//! ```
//!
//! `examples/producer.rs` and `examples/consumer.rs` are whole programs, which run beside `cargo dev up`.
//!
//! # A handler
//!
//! [`messages!`] names the event types of a consumer, and a [`Handler`] does what each leads to, in a transaction that the
//! [`Consumer`] opens, checks and commits. With it go the inbox row by which a second delivery is recognised, and the
//! events that the handler appends to the [`Outbox`]: effects happen once, whatever dies in between. A [`BatchHandler`] gets
//! many records at once, and is several times as quick.
//!
//! ```
//! # #[derive(Debug, serde::Serialize, serde::Deserialize)]
//! # pub struct Greeted { name: String }
//! # oncebox::event! {
//! #     Greeted = "demo.Greeted" on "demo.greetings" keyed by |event| event.name.clone(),
//! #     schema r#"{"type": "record", "name": "Greeted", "namespace": "demo", "fields": [{"name": "name", "type": "string"}]}"#
//! # }
//! use oncebox::{Delivery, ErrorClass, Failure, Handler};
//!
//! oncebox::messages! {
//!     pub enum Greeting { Greeted }
//!     others skip
//! }
//!
//! struct Count;
//!
//! #[async_trait::async_trait]
//! impl Handler for Count {
//!     type Message = Greeting;
//!
//!     async fn handle(&self, tx: &mut sqlx::PgConnection, delivery: &Delivery<Greeting>) -> Result<(), Failure> {
//!         let Greeting::Greeted(greeted) = &delivery.message;
//!         if greeted.name.is_empty() {
//!             return Err(Failure::new(ErrorClass::Permanent, "greeting.no_name", "nobody was greeted"));
//!         }
//!         sqlx::query("update people set greetings = greetings + 1 where name = $1")
//!             .bind(&greeted.name)
//!             .execute(tx)
//!             .await?;
//!         Ok(())
//!     }
//! }
//!
//! # async fn run(pool: sqlx::PgPool, codec: oncebox::Codec) -> Result<(), oncebox::ConsumerError> {
//! let settings = oncebox::ConsumerSettings::new("127.0.0.1:9092", "greeter", ["demo.greetings"]);
//! let stop = tokio_util::sync::CancellationToken::new();
//! oncebox::Consumer::new(settings, pool, codec, "1.0.0", oncebox::Each(Count)).run(stop).await
//! # }
//! ```
//!
//! Calls of other systems belong into [`Handler::prepare`], which comes before the transaction. Events that need no order
//! go side by side with [`Handler::order_free`]; where producers do not keep an order, [`sequence`] restores it.
//!
//! # Errors
//!
//! A handler says what happens to a record by the [`ErrorClass`] of its [`Failure`]; an error that becomes one by `?` has its
//! class from [`Classify`], and one that nobody has classified is transient.
//!
//! | class | what it means | what happens |
//! |---|---|---|
//! | [`Transient`](ErrorClass::Transient) | may go well the next time | tried again, then dead-lettered |
//! | [`Permanent`](ErrorClass::Permanent) | never goes well | dead-lettered at once |
//! | [`Poison`](ErrorClass::Poison) | cannot even be read | dead-lettered at once |
//! | [`Outage`](ErrorClass::Outage) | something that every record needs is away | the partition waits and probes; nothing is counted |
//!
//! A panic, and a call that takes longer than [`handler_timeout`](ConsumerSettings::handler_timeout), are transient.
//!
//! # Retries
//!
//! A record that fails is tried a few times in place. Then it is [parked](parking) in the database, and later records of its
//! key behind it, while all other keys flow; it is tried again by [`RetryPolicy`], and when it succeeds its key follows in order.
//! Attempts are counted in the database, so that neither a restart nor a rebalance resets them. When too many records
//! fail at once, the [flood guard](flood) takes it for an outage, instead of dead-lettering a topic.
//!
//! # Dead letters
//!
//! What is given up goes to the topic `<topic>.<group>.dlq`, with its bytes as they were and headers that say why
//! ([`dead_letter`]). An operator looks at it and replays it; the replay comes by a topic of the group's own, and is handled
//! as if for the first time. What becomes of the key meanwhile, [`OnDeadLetter`] says. For how long duplicates are recognised,
//! [`retention`] does.
//!
//! # Testing a handler
//!
//! A handler is a function over a transaction, so a test needs a database and neither broker nor registry. With `testkit`:
//!
//! ```no_run
//! # struct Count;
//! # #[async_trait::async_trait]
//! # impl oncebox::BatchHandler for Count {
//! #     type Message = oncebox::Raw;
//! #     async fn handle(&self, _: &mut sqlx::PgConnection, _: &[oncebox::Delivery<oncebox::Raw>]) -> Result<(), oncebox::BatchFailure> { Ok(()) }
//! # }
//! # type Message = oncebox::Raw;
//! # fn greeted(_: &str) -> Message { oncebox::Raw }
//! # async fn test() {
//! let database = testkit::TestDb::new("greetings").await;
//! let delivery = testkit::delivery("demo.greetings", greeted("Ada"));
//! testkit::handle(database.pool(), &Count, &[delivery]).await.unwrap();
//! // Look into the database: the effects are committed.
//! # }
//! ```
//!
//! # Watching it
//!
//! Consumers, parking, flood guard and outbox count and time what they do by the crate `metrics`, and log by `tracing`, without
//! being asked. Handling a record is a span of its producer's trace, and the events that the handler appends with
//! [`Delivery::cause`] name it as their parent; the log filter `info,oncebox::consumer::trace=debug` writes a line for each.
//! [`Consumer::health`] says whether it polls, what it waits for, and why.
//!
//! # What it promises
//!
//! - An event whose transaction committed is published, once, in the order of its key; one whose transaction did not is not.
//! - A record takes effect once in the database of its consumer, however often it is delivered, by whichever process.
//! - A process that lost a partition, frozen or cut off, commits nothing for it any more.
//! - Records of a key take effect in the order of their topic, also when some are retried.
//! - An offset is committed when every record before it is handled, parked or dead-lettered, and never earlier.

mod attempts;
pub mod codec;
pub mod consumer;
pub mod dead_letter;
pub mod event;
pub mod failure;
pub mod flood;
pub mod handler;
pub mod headers;
mod inbox;
pub mod kafka;
pub mod message;
pub mod migrations;
pub mod outbox;
pub(crate) mod ownership;
pub mod parking;
pub mod record;
pub mod retention;
pub mod retry;
pub mod sequence;

pub use codec::{Codec, CodecError, DecodeError};
pub use consumer::{
    Consumer, ConsumerError, ConsumerHealth, ConsumerSettings, ConsumerStatus, Identity,
};
pub use event::{Event, EventId, EventSchema};
pub use failure::{BatchFailure, Classify, ErrorClass, Failure};
pub use flood::FloodPolicy;
pub use handler::{BatchHandler, Each, Handler};
pub use headers::Headers;
pub use message::{Message, Raw};
pub use migrations::migrate;
pub use outbox::{Cause, Outbox, OutboxBatch, OutboxError, OutboxRow};
pub use parking::{OnDeadLetter, Parking};
pub use record::{Delivery, Record};
pub use retry::RetryPolicy;
