//! The relay: publishes outbox rows to Kafka exactly once.
