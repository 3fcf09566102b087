//! Identifiers as types of their own, so that a product can never be passed where a customer is
//! meant.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The order's id and its Kafka key. A version 7 UUID: newer orders sort after older ones, which is
/// what lets lists page by id alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderId(Uuid);

impl OrderId {
    /// A new id, later than every id made before it on this machine.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id as the database and the schemas carry it.
    #[must_use]
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for OrderId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who ordered: the caller's own name for the customer, 1 to 64 characters of `A-Z a-z 0-9 . _ -`
/// (a UUID fits).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct CustomerId(String);

/// What is ordered: a product's slug, 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct ProductId(String);

impl CustomerId {
    /// The id, or a sentence that says what is wrong with `text`.
    pub fn parse(text: &str) -> Result<Self, String> {
        slug(text).map(Self)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ProductId {
    /// The id, or a sentence that says what is wrong with `text`.
    pub fn parse(text: &str) -> Result<Self, String> {
        slug(text).map(Self)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The longest slug, in characters.
pub const SLUG_MAX: usize = 64;

fn slug(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() {
        Err("must not be empty".to_owned())
    } else if text.chars().count() > SLUG_MAX {
        Err(format!("must have at most {SLUG_MAX} characters"))
    } else if let Some(wrong) = text.chars().find(|c| !allowed(*c)) {
        Err(format!(
            "may hold letters, digits, '.', '_' and '-' only, not {wrong:?}"
        ))
    } else {
        Ok(text.to_owned())
    }
}
