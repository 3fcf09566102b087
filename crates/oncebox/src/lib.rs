//! The delivery kit: transactional outbox, inbox, idempotent consumers, retries and dead letters.
