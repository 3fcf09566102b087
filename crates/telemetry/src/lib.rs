//! Logs, metrics and trace context: one start-up call for every process.
