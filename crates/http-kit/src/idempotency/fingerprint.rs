//! Tells whether a repeated request is really the same.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::Problem;

/// SHA-256 of the scope and the request in canonical JSON: spaces and the order of members do not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a request: its scope (route), and its payload as it was understood.
    ///
    /// # Errors
    /// 500 when the payload cannot be expressed as JSON, such as a map whose keys are no texts.
    pub fn of(scope: &str, payload: &impl Serialize) -> Result<Self, Problem> {
        let payload = serde_json::to_value(payload).map_err(Problem::internal)?;
        let mut text = String::with_capacity(512);
        write(&mut text, &payload);
        // The length keeps a scope and a payload from running into each other.
        let digest = Sha256::new()
            .chain_update((scope.len() as u64).to_be_bytes())
            .chain_update(scope)
            .chain_update(text)
            .finalize();
        Ok(Self(digest.into()))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Members are sorted here, for whether a JSON map sorts them itself depends on how `serde_json` was built.
fn write(text: &mut String, value: &Value) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            text.push('{');
            for (name, value) in members {
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write(text, value);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write(text, item);
                text.push(',');
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(scope: &str, value: Value) -> Fingerprint {
        Fingerprint::of(scope, &value).unwrap()
    }

    #[test]
    fn the_same_request_in_another_spelling_is_the_same() {
        let spelled: Value =
            serde_json::from_str("{ \"b\" : [1, {\"y\":2,\"x\":1}],\n\"a\":\"\\u0041\" }").unwrap();
        assert_eq!(
            of("POST /", spelled),
            of("POST /", json!({"a": "A", "b": [1, {"x": 1, "y": 2}]}))
        );
    }

    #[test]
    fn another_request_is_another() {
        let base = of("POST /", json!({"a": 1, "b": [1, 2]}));
        for other in [
            json!({"a": 2, "b": [1, 2]}),
            json!({"a": 1, "b": [2, 1]}),
            json!({"a": "1", "b": [1, 2]}),
            json!({"a": 1}),
            json!([1, 2]),
        ] {
            assert_ne!(of("POST /", other.clone()), base, "{other}");
        }
        assert_ne!(of("PUT /", json!({"a": 1, "b": [1, 2]})), base);
        assert_ne!(of("POST /1", json!(2)), of("POST /", json!(12)));
    }
}
