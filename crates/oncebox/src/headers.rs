//! Record headers in the three shapes they take: a list here, `jsonb` in the outbox, Kafka's own on the wire.
//!
//! In the outbox a header set is a JSON object from name to value, so that any language can write one:
//! a string is its UTF-8 bytes, `null` is a header without a value, `{"base64": "..."}` is any other bytes,
//! and an array holds the values of a name that occurs several times, in order.

mod name;

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use name::Name;

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
    /// On a delayed event: the time before which it was not to be published, RFC 3339.
    pub const NOT_BEFORE: &str = "oncebox-not-before";
}

/// Memory of a header beside its name and value.
pub(crate) const ENTRY_BYTES: usize = size_of::<(Name, Option<Bytes>)>();

/// What the values of a record's headers usually take together.
const VALUES: usize = 512;

/// An ordered list of headers; names may repeat, values are bytes or absent, as in Kafka.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Name, Option<Bytes>)>);

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
        let value: Vec<u8> = value.into();
        self.push_raw(name, Some(value));
    }

    /// Adds a header that may have no value.
    pub fn push_raw(&mut self, name: impl Into<String>, value: Option<Vec<u8>>) {
        self.0
            .push((Name::from(name.into()), value.map(Bytes::from)));
    }

    /// Sets a header: every earlier one of that name goes.
    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.remove(name);
        self.push(name, value);
    }

    /// Removes every header of that name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(present, _)| present.as_str() != name);
    }

    /// Keeps the headers whose name satisfies `keep`.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.0.retain(|(name, _)| keep(name.as_str()));
    }

    /// The last value of that name: in Kafka a later header overrides an earlier one.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0
            .iter()
            .rev()
            .find(|(present, _)| present.as_str() == name)
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
            .map(|(name, value)| name.as_str().len() + value.as_ref().map_or(0, Bytes::len))
            .sum()
    }

    /// The shape that the outbox column holds. The order of values of one name is kept; between
    /// different names it is not, since a JSON object has none.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        for (name, value) in self.iter() {
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
                    object.insert(name.to_owned(), value);
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
                        headers.push_raw(name, single_value(name, value)?);
                    }
                }
                value => headers.push_raw(name, single_value(name, value)?),
            }
        }
        Ok(headers)
    }

    /// The headers of a record as librdkafka handed it over.
    pub fn from_kafka(message: &BorrowedMessage<'_>) -> Self {
        let Some(headers) = message.headers() else {
            return Self::default();
        };
        // All values share one piece of memory: a consumer holds thousands of records.
        let mut values = Vec::with_capacity(VALUES);
        let mut entries = Vec::with_capacity(headers.count());
        for header in headers.iter() {
            let begin = values.len();
            let value = header.value.map(|value| {
                values.extend_from_slice(value);
                begin..values.len()
            });
            entries.push((Name::from(header.key), value));
        }
        values.shrink_to_fit();
        let values = Bytes::from(values);
        let entries = entries.into_iter();
        Self(
            entries
                .map(|(name, value)| (name, value.map(|range| values.slice(range))))
                .collect(),
        )
    }

    /// The headers as a producer takes them.
    pub fn to_kafka(&self) -> OwnedHeaders {
        self.iter().fold(
            OwnedHeaders::new_with_capacity(self.0.len()),
            |headers, (key, value)| headers.insert(Header { key, value }),
        )
    }
}

/// The headers of an outbox row as a producer takes them, straight from the column's JSON text: what
/// [`Headers::from_json`] and [`Headers::to_kafka`] give, without a tree or a list between. For the relay, which does this for every row.
///
/// # Errors
/// [`MalformedHeader`] as for [`Headers::from_json`], and for a name with a zero byte, which Kafka's client cannot take.
pub fn kafka_headers_from_json(text: &str) -> Result<OwnedHeaders, MalformedHeader> {
    let Entries(entries) = serde_json::from_str(text).map_err(|_| MalformedHeader {
        name: String::new(),
        problem: "headers are not a JSON object",
    })?;
    let mut headers = OwnedHeaders::new_with_capacity(entries.len());
    for (name, value) in &entries {
        if name.contains('\0') {
            return Err(MalformedHeader {
                name: name.to_string(),
                problem: "the name holds a zero byte",
            });
        }
        if let Some(plain) = plain_text(value.get()) {
            headers = headers.insert(Header {
                key: name,
                value: Some(plain),
            });
            continue;
        }
        let value: Value = serde_json::from_str(value.get()).unwrap_or(Value::Bool(false));
        let values = match &value {
            Value::Array(values) => values.as_slice(),
            single => std::slice::from_ref(single),
        };
        for value in values {
            headers = headers.insert(Header {
                key: name,
                value: single_value(name, value)?.as_deref(),
            });
        }
    }
    Ok(headers)
}

/// A JSON string that stands for itself: nothing in it is escaped. Nearly all are.
fn plain_text(json: &str) -> Option<&str> {
    let inside = json.strip_prefix('"')?.strip_suffix('"')?;
    (!inside.contains('\\')).then_some(inside)
}

/// A JSON object's members as they stand in the text.
struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::with_capacity(12);
                while let Some(Name(name)) = map.next_key()? {
                    entries.push((name, map.next_value().map_err(A::Error::custom)?));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Members)
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
    fn the_short_way_to_kafka_gives_what_the_long_way_gives() {
        let texts = [
            r#"{}"#,
            r#"{"a": "plain", "ä": "ü", "": ""}"#,
            r#"{"a": "with \"quotes\" and \u00e4", "b": null, "c": {"base64": "/wA="}}"#,
            r#"{ "twice" : [ "1" , null, {"base64": ""} ], "none": [] }"#,
        ];
        for text in texts {
            let long = Headers::from_json(&serde_json::from_str(text).unwrap()).unwrap();
            let short = kafka_headers_from_json(text).unwrap();
            let mut short: Vec<_> = short
                .iter()
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                .collect();
            let mut long: Vec<_> = long
                .iter()
                .map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)))
                .collect();
            short.sort();
            long.sort();
            assert_eq!(short, long, "{text}");
        }
        for bad in [
            r#"{"a": 1}"#,
            r#"{"a": [["1"]]}"#,
            r#"{"a": {"b": 1}}"#,
            r#"{"a": {"base64": "?"}}"#,
            r#"{"a": false}"#,
        ] {
            assert_eq!(kafka_headers_from_json(bad).unwrap_err().name, "a", "{bad}");
        }
        assert_eq!(kafka_headers_from_json("[1]").unwrap_err().name, "");
        assert_eq!(
            kafka_headers_from_json(r#"{"\u0000": "v"}"#)
                .unwrap_err()
                .name,
            "\0"
        );
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
