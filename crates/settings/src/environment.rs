//! Environment variables as a source of settings.

use std::ffi::OsString;

use config::{ConfigError, Map, Source, Value};

/// Keys that mean the same in every service. Their variables may be set for a service that has no such key.
pub const COMMON_KEYS: &[&str] = &[
    "http_address",
    "database_url",
    "kafka",
    "schema_registry",
    "topic_prefix",
    "log_format",
    "log_filter",
];

const PREFIX: &str = "ONCEBOX_";
const IGNORED: [&str; 2] = ["DEV_", "TEST_"];
const NESTING: &str = "__";

/// The variables that set something, with the name of each kept for messages.
#[derive(Clone, Debug)]
pub(crate) struct Environment(Vec<(String, String)>);

impl Environment {
    /// Takes what starts with the prefix. Not `config`'s own source: that one would guess types (a token of digits
    /// would lose its zeroes) and forget which variable a value came from.
    pub(crate) fn from(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let ours = variables.into_iter().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            let key = name.strip_prefix(PREFIX)?;
            let foreign = IGNORED.iter().any(|ignored| key.starts_with(ignored));
            // What is not Unicode cannot be a valid value; shown with replacement signs it is refused by its setting.
            (!foreign).then(|| (name.clone(), value.to_string_lossy().into_owned()))
        });
        Self(ours.collect())
    }
}

impl Source for Environment {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let set = self.0.iter().map(|(name, value)| {
            let key = name[PREFIX.len()..]
                .to_ascii_lowercase()
                .replace(NESTING, ".");
            let origin = format!("environment variable {name}");
            (key, Value::new(Some(&origin), value.as_str()))
        });
        Ok(set.collect())
    }
}

/// The variable that sets `key`.
pub(crate) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', NESTING).to_ascii_uppercase())
}
