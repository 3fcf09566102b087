//! What tests share: a database and a topic prefix a test, waiting for conditions, fault injection.
