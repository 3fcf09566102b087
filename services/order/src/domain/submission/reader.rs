//! Reads fields out of JSON and remembers everything that is wrong, instead of stopping at the first.

use serde_json::{Map, Value};

use super::FieldError;

/// Collects the errors of one document.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) errors: Vec<FieldError>,
}

impl Reader {
    pub(super) fn wrong(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.errors.push(FieldError {
            pointer: pointer.into(),
            detail: detail.into(),
        });
    }

    /// The value, with its error noted if it has one.
    pub(super) fn accept<T>(
        &mut self,
        pointer: impl Into<String>,
        found: Result<T, String>,
    ) -> Option<T> {
        found.map_err(|detail| self.wrong(pointer, detail)).ok()
    }

    /// An object with no fields but the known ones.
    pub(super) fn object<'v>(
        &mut self,
        value: &'v Value,
        at: &str,
        known: &[&str],
    ) -> Option<&'v Map<String, Value>> {
        let Some(fields) = value.as_object() else {
            self.wrong(at, format!("must be an object, not {}", kind(value)));
            return None;
        };
        for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
            // "~" and "/" have a meaning in a pointer (RFC 6901, section 3).
            let escaped = name.replace('~', "~0").replace('/', "~1");
            self.wrong(
                format!("{at}/{escaped}"),
                format!("unknown field; known are {}", known.join(", ")),
            );
        }
        Some(fields)
    }

    pub(super) fn required<'v>(
        &mut self,
        fields: &'v Map<String, Value>,
        at: &str,
        name: &str,
    ) -> Option<&'v Value> {
        let found = present(fields, name);
        if found.is_none() {
            self.wrong(format!("{at}/{name}"), "is missing");
        }
        found
    }

    pub(super) fn array<'v>(
        &mut self,
        fields: &'v Map<String, Value>,
        at: &str,
        name: &str,
    ) -> Option<&'v [Value]> {
        let value = self.required(fields, at, name)?;
        if value.as_array().is_none() {
            self.wrong(
                format!("{at}/{name}"),
                format!("must be a list, not {}", kind(value)),
            );
        }
        value.as_array().map(Vec::as_slice)
    }

    pub(super) fn text<'v>(
        &mut self,
        fields: &'v Map<String, Value>,
        at: &str,
        name: &str,
    ) -> Option<&'v str> {
        let value = self.required(fields, at, name)?;
        self.as_text(value, at, name)
    }

    pub(super) fn optional_text<'v>(
        &mut self,
        fields: &'v Map<String, Value>,
        at: &str,
        name: &str,
    ) -> Option<&'v str> {
        let value = present(fields, name)?;
        self.as_text(value, at, name)
    }

    fn as_text<'v>(&mut self, value: &'v Value, at: &str, name: &str) -> Option<&'v str> {
        if value.as_str().is_none() {
            self.wrong(
                format!("{at}/{name}"),
                format!("must be text, not {}", kind(value)),
            );
        }
        value.as_str()
    }

    /// A whole number that fits 64 bits.
    pub(super) fn whole(
        &mut self,
        fields: &Map<String, Value>,
        at: &str,
        name: &str,
        required: bool,
    ) -> Option<i64> {
        let value = if required {
            self.required(fields, at, name)?
        } else {
            present(fields, name)?
        };
        if value.as_i64().is_none() {
            let found = match value {
                Value::Number(number) => number.to_string(),
                other => kind(other).to_owned(),
            };
            self.wrong(
                format!("{at}/{name}"),
                format!("must be a whole number of at most 64 bits, not {found}"),
            );
        }
        value.as_i64()
    }
}

/// `null` says the same as leaving a field out.
fn present<'v>(fields: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    fields.get(name).filter(|value| !value.is_null())
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
