//! Payments: pre-authorise, capture and void against the provider, once.

pub mod domain;
pub mod store;
