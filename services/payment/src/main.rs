//! Payments: pre-authorise, capture and void against the provider, once.
fn main() {}
