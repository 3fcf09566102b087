//! Notifications: tells customers of the outcome of their orders.
fn main() {}
