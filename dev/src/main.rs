//! The command runner behind cargo dev.
fn main() {}
