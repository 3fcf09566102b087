//! Amounts and currencies as the provider accepts them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount in minor units of its currency (cents for EUR), greater than zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Amount(i64);

impl Amount {
    /// Nothing can be authorised for zero or less: `None`.
    pub fn new(minor: i64) -> Option<Self> {
        (minor > 0).then_some(Self(minor))
    }

    pub fn minor(self) -> i64 {
        self.0
    }
}

/// An ISO 4217 code: three capital letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Currency(String);

impl Currency {
    pub fn new(code: &str) -> Option<Self> {
        let well_formed = code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase());
        well_formed.then(|| Self(code.to_owned()))
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
