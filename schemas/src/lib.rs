//! The events of the order platform as Rust types, with their Avro schemas.
