//! A payment provider simulator that is a real HTTP server.
fn main() {}
