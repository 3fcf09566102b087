//! D7: several relays on one source that is divided into shards, as processes: spread evenly, moved when one goes, divided
//! anew under load; and none of it loses, doubles or reorders anything.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod division;
mod spread;
mod world;
