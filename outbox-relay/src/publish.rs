//! Into Kafka: a batch and the cursor after it in one transaction, so that both are there or neither is.

mod deliveries;
mod journal;
mod outcome;
mod producer;
mod quiet;
mod record;
mod refusal;
mod topics;
mod turns;

pub use journal::{Journal, JournalError};
pub use outcome::{Lead, PublishError};
pub use producer::{Publisher, producer_config};
pub use refusal::Refused;
