//! Idempotency keys: a request that is sent again takes effect once, and gets the first answer again.
//!
//! Semantics as in the IETF draft "The Idempotency-Key HTTP Header Field"
//! (draft-ietf-httpapi-idempotency-key-header-07). Key, effects and answer commit in **one** transaction, the caller's:
//! after a crash there are all of them or none, so a client may always repeat.
//!
//! ```no_run
//! # use http_kit::{Problem, StatusCode, idempotency::{self, Answer, Fingerprint, IdempotencyKey, Outcome}};
//! # async fn submit(pool: sqlx::PgPool, key: IdempotencyKey, order: serde_json::Value) -> Result<Answer, Problem> {
//! const SCOPE: &str = "POST /v1/orders";
//!
//! let mut tx = pool.begin().await?;
//! let claim = match idempotency::begin(&mut tx, SCOPE, &key, Fingerprint::of(SCOPE, &order)?).await? {
//!     Outcome::First(claim) => claim,
//!     Outcome::Repeated(answer) => return Ok(answer), // byte for byte, with Idempotent-Replayed: true
//! };
//! // … the order and its outbox row, in `tx` …
//! let answer = Answer::json(StatusCode::ACCEPTED, &order)?.header("location", "/v1/orders/42");
//! idempotency::finish(&mut tx, claim, &answer).await?;
//! tx.commit().await?;
//! # Ok(answer)
//! # }
//! ```
//! A request that fails rolls its transaction back and leaves no trace: sent again, it is tried again.

mod answer;
mod fingerprint;
mod key;
mod store;

pub use answer::Answer;
pub use fingerprint::Fingerprint;
pub use key::IdempotencyKey;
pub use store::{Claim, MIGRATION, Outcome, begin, finish, migrate, purge};
