//! Collects the fields of one log line into one JSON object.

use std::{error::Error, fmt};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};

/// The fields of one line. The first value under a name stays: an event's own field wins over its span's.
pub(super) struct Line(Map<String, Value>);

impl Line {
    pub(super) fn new() -> Self {
        Self(Map::new())
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.put(name, value.into());
    }

    /// Takes over the fields of a span, which are already written as a JSON object.
    pub(super) fn merge(&mut self, object: &str) {
        if let Ok(Value::Object(fields)) = serde_json::from_str(object) {
            for (name, value) in fields {
                self.0.entry(name).or_insert(value);
            }
        }
    }

    pub(super) fn finish(self) -> Value {
        Value::Object(self.0)
    }

    fn put(&mut self, name: &str, value: Value) {
        // Fields named `log.*` are the `log` crate's own bookkeeping, repeated by the event's metadata.
        if !name.starts_with("log.") {
            self.0.entry(name).or_insert(value);
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put(field.name(), value.to_string().into());
    }
}
