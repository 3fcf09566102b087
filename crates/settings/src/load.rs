//! Reads the three sources, and reports everything that is wrong at once.

use std::{env, ffi::OsString, fs, path::Path};

use config::{Config, ConfigError, File, FileFormat, Map, Value, ValueKind};
use serde::de::DeserializeOwned;

use crate::{
    Refused, SettingsError,
    environment::{COMMON_KEYS, Environment, variable},
    nearest::nearest,
};

/// The service's settings: `defaults`, overridden by `file`, overridden by the environment.
///
/// `T` must derive `Deserialize` with `deny_unknown_fields`: that is what makes an unknown key an error.
///
/// # Errors
/// [`SettingsError`]: the file cannot be read or parsed; or keys are unknown, of the wrong kind or missing, all listed.
pub fn load<T: DeserializeOwned>(
    service: &str,
    defaults: &str,
    file: Option<&Path>,
) -> Result<T, SettingsError> {
    Sources::read(defaults, file, env::vars_os())?.settings(service)
}

/// The merged sources; every value knows where it came from.
#[derive(Clone, Debug)]
pub(crate) struct Sources(Value);

impl Sources {
    pub(crate) fn read(
        defaults: &str,
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, SettingsError> {
        let mut builder = Config::builder().add_source(toml("built-in defaults", defaults)?);
        if let Some(path) = file {
            let text = fs::read_to_string(path).map_err(|cause| SettingsError::FileUnreadable {
                path: path.to_owned(),
                cause,
            })?;
            builder = builder.add_source(toml(&path.display().to_string(), &text)?);
        }
        let merged = builder.add_source(Environment::from(environment)).build();
        // `config` objects only to a variable whose name is no key at all, such as ONCEBOX_A____B.
        let merged = merged.map_err(|error| SettingsError::Refused {
            service: "this service".into(),
            refused: vec![Refused {
                key: "ONCEBOX_*".into(),
                origin: Some("the environment".into()),
                reason: format!("{error}; a name is ONCEBOX_<KEY>, with __ between levels"),
            }],
        })?;
        Ok(Self(Value::new(
            None,
            ValueKind::Table(merged.cache.into_table().unwrap_or_default()),
        )))
    }

    /// Deserialises, and goes on after an unknown key, so that all of them are reported.
    pub(crate) fn settings<T: DeserializeOwned>(&self, service: &str) -> Result<T, SettingsError> {
        let mut tree = self.clone();
        let mut refused = Vec::new();
        loop {
            let error = match serde_path_to_error::deserialize(tree.0.clone()) {
                Ok(settings) if refused.is_empty() => return Ok(settings),
                Ok(_) => break,
                Err(error) => error,
            };
            let path = error.path().to_string();
            let reason = error.into_inner().to_string();
            // `config` appends the key and the origin in words of its own; both are said by other fields.
            let reason = reason.split(" for key `").next().unwrap_or(&reason);
            let reason = reason
                .split(" in environment variable ")
                .next()
                .unwrap_or(reason);
            let unknown = Unknown::parse(reason);
            let permitted = unknown.is_some() && tree.shared_variable(&path);
            let explained = tree.explain(&path, reason, unknown.as_ref());
            let taken_away = unknown.is_some() && tree.remove(&path).is_some();
            if !(permitted && taken_away) {
                refused.push(explained);
            }
            if !taken_away {
                break;
            }
        }
        Err(SettingsError::Refused {
            service: service.to_owned(),
            refused,
        })
    }

    /// Whether `path` was set by a variable that all services share: no mistake where a service has no use for it.
    fn shared_variable(&self, path: &str) -> bool {
        let origin = format!("environment variable {}", variable(path));
        COMMON_KEYS.contains(&path) && self.origin(path) == Some(origin)
    }

    /// Where the value at a dotted path came from.
    pub(crate) fn origin(&self, path: &str) -> Option<String> {
        let mut value = &self.0;
        for segment in path.split('.') {
            let ValueKind::Table(table) = &value.kind else {
                break;
            };
            value = table.get(segment)?;
        }
        // A level that a variable created (`ONCEBOX_KAFKA__X`) has no origin of its own, but what is in it has.
        while let (None, ValueKind::Table(table)) = (value.origin(), &value.kind) {
            value = table.values().next()?;
        }
        value.origin().map(str::to_owned)
    }

    fn remove(&mut self, path: &str) -> Option<Value> {
        let (parents, last) = match path.rsplit_once('.') {
            Some((parents, last)) => (parents.split('.').collect(), last),
            None => (Vec::new(), path),
        };
        let mut table = table(&mut self.0)?;
        for parent in parents {
            table = self::table(table.get_mut(parent)?)?;
        }
        table.remove(last)
    }

    fn explain(&self, path: &str, reason: &str, unknown: Option<&Unknown<'_>>) -> Refused {
        if let Some(unknown) = unknown {
            let parent = path
                .rsplit_once('.')
                .map(|(parent, _)| format!("{parent}."))
                .unwrap_or_default();
            let hint = match nearest(unknown.name, unknown.known.iter().copied()) {
                Some(near) => format!("unknown key; did you mean {parent}{near}?"),
                None => format!("unknown key; known are {}", unknown.known.join(", ")),
            };
            return Refused {
                key: path.to_owned(),
                origin: self.origin(path),
                reason: hint,
            };
        }
        if let Some(key) = missing(reason) {
            let reason = format!(
                "not set; set it in the configuration file or as {}",
                variable(key)
            );
            return Refused {
                key: key.to_owned(),
                origin: None,
                reason,
            };
        }
        Refused {
            key: path.to_owned(),
            origin: self.origin(path),
            reason: reason.to_owned(),
        }
    }
}

/// The key that `config` says is missing.
fn missing(reason: &str) -> Option<&str> {
    reason
        .strip_prefix("missing configuration field \"")?
        .split('"')
        .next()
}

fn table(value: &mut Value) -> Option<&mut Map<String, Value>> {
    match &mut value.kind {
        ValueKind::Table(table) => Some(table),
        _ => None,
    }
}

/// What serde says of an unknown key: its name, and the names it knows.
struct Unknown<'a> {
    name: &'a str,
    known: Vec<&'a str>,
}

impl<'a> Unknown<'a> {
    /// Reads serde's sentence ``unknown field `x`, expected one of `a`, `b` ``: `config` keeps nothing but the text.
    fn parse(reason: &'a str) -> Option<Self> {
        let (name, rest) = reason.strip_prefix("unknown field `")?.split_once('`')?;
        Some(Self {
            name,
            known: rest.split('`').skip(1).step_by(2).collect(),
        })
    }
}

/// Parses TOML into a source whose values say that they came from `origin`.
fn toml(origin: &str, text: &str) -> Result<Parsed, SettingsError> {
    let parsed = Config::builder()
        .add_source(File::from_str(text, FileFormat::Toml))
        .build();
    let mut tree = parsed.map_err(|error| invalid(origin, &error))?.cache;
    stamp(&mut tree, origin);
    Ok(Parsed(tree))
}

fn invalid(origin: &str, error: &ConfigError) -> SettingsError {
    let reason = match error {
        ConfigError::FileParse { cause, .. } => cause.to_string().trim().to_owned(),
        other => other.to_string(),
    };
    SettingsError::FileInvalid {
        origin: origin.to_owned(),
        reason,
    }
}

fn stamp(value: &mut Value, origin: &str) {
    match &mut value.kind {
        ValueKind::Table(table) => table.values_mut().for_each(|value| stamp(value, origin)),
        ValueKind::Array(items) => items.iter_mut().for_each(|value| stamp(value, origin)),
        _ => {}
    }
    *value = Value::new(
        Some(&origin.to_owned()),
        std::mem::replace(&mut value.kind, ValueKind::Nil),
    );
}

/// A parsed file as a source.
#[derive(Clone, Debug)]
struct Parsed(Value);

impl config::Source for Parsed {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        self.0.clone().into_table()
    }
}

#[cfg(test)]
mod tests;
