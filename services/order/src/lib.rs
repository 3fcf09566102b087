//! Orders: HTTP submission and the saga that carries each to its verdict.

pub mod domain;
pub mod store;
