//! HTTP conventions, once: problems, idempotency keys, pagination, auth, health, OpenAPI, graceful shutdown.
