//! Parking: a record that keeps failing, and every later record of its key behind it, wait in the database while all
//! other keys go on (guarantee G6).
//!
//! The consumer parks in the transaction that advances past a record, and the partition's owner tries the first record
//! of each parked key again, with growing delays; when it succeeds the others follow in order. [`Parking`] shows what
//! is parked and takes an operator's orders, which the owner carries out within about a second.

pub(crate) mod decide;
pub(crate) mod lane;
pub(crate) mod lanes;
#[cfg(test)]
mod model;
pub(crate) mod store;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use uuid::Uuid;

pub use lane::Lane;

/// What becomes of a key's later records when one of its records is dead-lettered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDeadLetter {
    /// They are handled.
    #[default]
    Continue,
    /// They are parked until the dead letter was replayed with success, or [`Parking::release`] lets them go. A record
    /// without key holds nothing, and neither does a replayed one.
    Hold,
}

/// What a consumer group has parked in a database.
#[derive(Debug, Clone)]
pub struct Parking {
    pool: PgPool,
    group: String,
}

/// A key whose records are parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedKey {
    /// Where it is parked.
    pub place: ParkedPlace,
    /// The key; none for a record without one, which parks alone.
    pub key: Option<Bytes>,
    /// How many records wait, the failing one included.
    pub depth: u64,
    /// Failed attempts of the first of them.
    pub attempts: u32,
    /// When that one is tried next, or its wait ends. It means nothing while the key is held.
    pub next_attempt_at: DateTime<Utc>,
    /// When that one failed first; none before its first failure.
    pub first_failed_at: Option<DateTime<Utc>>,
    /// How it failed last.
    pub last_error: Option<ParkedError>,
    /// The dead event for which the key is held.
    pub held_for: Option<Uuid>,
    /// The sequence that the key waits for, where the consumer demands sequences and this one has not come.
    pub waits_for: Option<u64>,
    /// When that wait is given up.
    pub waits_until: Option<DateTime<Utc>>,
}

/// Where a key is parked: what [`Parking`]'s orders are addressed to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ParkedPlace {
    /// Full topic name.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// The key's lane; [`Lane::of_key`] makes it from a key.
    pub lane: Lane,
}

/// How a parked record failed last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedError {
    /// `transient`, as a rule.
    pub class: String,
    /// Stable code.
    pub code: String,
    /// The error and its causes, for people.
    pub message: String,
}

impl Parking {
    /// What the group of that name (without prefix, as in the consumer's settings) has parked.
    pub fn new(pool: PgPool, group: impl Into<String>) -> Self {
        Self {
            pool,
            group: group.into(),
        }
    }

    /// Up to `limit` parked keys: those that are tried next come first, those that are held last.
    ///
    /// # Errors
    /// Any [`sqlx::Error`].
    pub async fn keys(&self, limit: u32) -> Result<Vec<ParkedKey>, sqlx::Error> {
        store::keys(&self.pool, &self.group, i64::from(limit)).await
    }

    /// Makes the key's first record due now. False when the key is not parked (any more).
    ///
    /// # Errors
    /// Any [`sqlx::Error`].
    pub async fn retry_now(&self, place: &ParkedPlace) -> Result<bool, sqlx::Error> {
        store::retry_now(&self.pool, &self.group, place).await
    }

    /// Has the key's first record dead-lettered without another attempt, then lets the key go on by the consumer's
    /// policy. It reaches the record that is first now and no other. False when nothing of the key is parked.
    ///
    /// # Errors
    /// Any [`sqlx::Error`].
    pub async fn dead_letter_now(&self, place: &ParkedPlace) -> Result<bool, sqlx::Error> {
        store::doom(&self.pool, &self.group, place).await
    }

    /// Lets a held key go on: what it is held for stays a dead letter. False when the key is not held.
    ///
    /// # Errors
    /// Any [`sqlx::Error`].
    pub async fn release(&self, place: &ParkedPlace) -> Result<bool, sqlx::Error> {
        store::release(&self.pool, &self.group, place).await
    }
}
