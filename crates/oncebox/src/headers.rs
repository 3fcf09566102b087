//! Record headers in the three shapes they take: a list here, `jsonb` in the outbox, Kafka's own on the wire.
//!
//! In the outbox a header set is a JSON object from name to value, so that any language can write one:
//! a string is its UTF-8 bytes, `null` is a header without a value, `{"base64": "..."}` is any other bytes,
//! and an array holds the values of a name that occurs several times, in order.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders};
use serde_json::{Map, Value, json};

/// Names of the headers that this kit writes and reads.
pub mod names {
    /// The event id, where Debezium's outbox router also writes it.
    pub const ID: &str = "id";
    /// CloudEvents: the event id.
    pub const CE_ID: &str = "ce_id";
    /// CloudEvents: version of the specification, always `1.0`.
    pub const CE_SPECVERSION: &str = "ce_specversion";
    /// CloudEvents: the event type, which is the full name of its Avro record.
    pub const CE_TYPE: &str = "ce_type";
    /// CloudEvents: who wrote the event, `/oncebox/<service>`.
    pub const CE_SOURCE: &str = "ce_source";
    /// CloudEvents: the aggregate id.
    pub const CE_SUBJECT: &str = "ce_subject";
    /// CloudEvents: when the event was written, RFC 3339.
    pub const CE_TIME: &str = "ce_time";
    /// Media type of the value.
    pub const CONTENT_TYPE: &str = "content-type";
    /// W3C trace context.
    pub const TRACEPARENT: &str = "traceparent";
    /// What one request or job caused, across services.
    pub const CORRELATION_ID: &str = "oncebox-correlation-id";
    /// The event that caused this one.
    pub const CAUSATION_ID: &str = "oncebox-causation-id";
    /// Position of the event in its aggregate's stream.
    pub const SEQUENCE: &str = "oncebox-sequence";
}

/// An ordered list of headers; names may repeat, values are bytes or absent, as in Kafka.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, Option<Vec<u8>>)>);

/// Headers of an outbox row that are not in the documented shape.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "header {name:?}: {problem} (a value is a string, null, {{\"base64\": \"...\"}}, or an array of those)"
)]
pub struct MalformedHeader {
    /// The header's name; empty when the whole is not an object.
    pub name: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Headers {
    /// No headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a header after the others, keeping earlier ones of the same name.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) {
        self.0.push((name.into(), Some(value.into())));
    }

    /// Adds a header that may have no value.
    pub fn push_raw(&mut self, name: impl Into<String>, value: Option<Vec<u8>>) {
        self.0.push((name.into(), value));
    }

    /// Sets a header: every earlier one of that name goes.
    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.remove(name);
        self.push(name, value);
    }

    /// Removes every header of that name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(present, _)| present != name);
    }

    /// Keeps the headers whose name satisfies `keep`.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.0.retain(|(name, _)| keep(name));
    }

    /// The last value of that name: in Kafka a later header overrides an earlier one.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0
            .iter()
            .rev()
            .find(|(present, _)| present == name)
            .and_then(|(_, value)| value.as_deref())
    }

    /// Like [`Headers::get`], when the value is UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All headers in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// How many headers there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of all names and values together.
    pub fn size_bytes(&self) -> usize {
        self.0
            .iter()
            .map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len))
            .sum()
    }

    /// The shape that the outbox column holds. The order of values of one name is kept; between
    /// different names it is not, since a JSON object has none.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        for (name, value) in &self.0 {
            let value = match value {
                None => Value::Null,
                Some(bytes) => match std::str::from_utf8(bytes) {
                    // PostgreSQL's jsonb cannot hold U+0000, so such text travels as bytes.
                    Ok(text) if !text.contains('\0') => Value::String(text.to_owned()),
                    _ => json!({ "base64": BASE64.encode(bytes) }),
                },
            };
            match object.get_mut(name) {
                None => {
                    object.insert(name.clone(), value);
                }
                Some(Value::Array(values)) => values.push(value),
                Some(single) => *single = Value::Array(vec![single.take(), value]),
            }
        }
        Value::Object(object)
    }

    /// Reads the shape that the outbox column holds.
    ///
    /// # Errors
    /// [`MalformedHeader`] naming the first header that has another shape.
    pub fn from_json(value: &Value) -> Result<Self, MalformedHeader> {
        let object = value.as_object().ok_or(MalformedHeader {
            name: String::new(),
            problem: "headers are not a JSON object",
        })?;
        let mut headers = Self(Vec::with_capacity(object.len()));
        for (name, value) in object {
            match value {
                Value::Array(values) => {
                    for value in values {
                        headers.0.push((name.clone(), single_value(name, value)?));
                    }
                }
                value => headers.0.push((name.clone(), single_value(name, value)?)),
            }
        }
        Ok(headers)
    }

    /// The headers of a record as librdkafka handed it over.
    pub fn from_kafka(message: &BorrowedMessage<'_>) -> Self {
        let Some(headers) = message.headers() else {
            return Self::default();
        };
        Self(
            headers
                .iter()
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                .collect(),
        )
    }

    /// The headers as a producer takes them.
    pub fn to_kafka(&self) -> OwnedHeaders {
        self.0.iter().fold(
            OwnedHeaders::new_with_capacity(self.0.len()),
            |headers, (key, value)| {
                headers.insert(Header {
                    key,
                    value: value.as_deref(),
                })
            },
        )
    }
}

fn single_value(name: &str, value: &Value) -> Result<Option<Vec<u8>>, MalformedHeader> {
    let malformed = |problem| MalformedHeader {
        name: name.to_owned(),
        problem,
    };
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone().into_bytes())),
        Value::Object(object) => match object.get("base64").and_then(Value::as_str) {
            Some(encoded) if object.len() == 1 => BASE64
                .decode(encoded)
                .map(Some)
                .map_err(|_| malformed("base64 does not decode")),
            _ => Err(malformed("the object is not {\"base64\": \"...\"}")),
        },
        _ => Err(malformed(
            "a number, boolean or nested array is no header value",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_bytes_nulls_and_repetitions() {
        let mut headers = Headers::new();
        headers.push("a", "one");
        headers.push("a", vec![0xff, 0x00]);
        headers.push_raw("b", None);
        headers.push("c", "nul\0inside");
        let back = Headers::from_json(&headers.to_json()).unwrap();
        assert_eq!(back, headers);
    }

    #[test]
    fn last_value_of_a_name_wins() {
        let mut headers = Headers::new();
        headers.push("a", "one");
        headers.push("a", "two");
        assert_eq!(headers.get_str("a"), Some("two"));
        headers.set("a", "three");
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn other_shapes_are_refused_by_name() {
        for bad in [
            json!({"a": 1}),
            json!({"a": [[1]]}),
            json!({"a": {"b": 1}}),
            json!({"a": {"base64": "?"}}),
        ] {
            assert_eq!(Headers::from_json(&bad).unwrap_err().name, "a");
        }
        assert_eq!(Headers::from_json(&json!([1])).unwrap_err().name, "");
    }
}
