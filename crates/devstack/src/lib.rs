//! Finds or starts a real Kafka, PostgreSQL and schema registry.
