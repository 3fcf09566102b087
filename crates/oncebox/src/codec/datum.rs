//! A record's Avro body together with the schema that it was written with, and how it is read.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;

use super::registry::RegistryError;
use crate::event::{Event, fingerprint};

/// A schema from the registry, prepared for reading records that were written with it.
pub struct WriterSchema {
    id: u32,
    name: String,
    fingerprint: String,
    plain: GenericDatumReader<'static>,
    schema: &'static Schema,
    /// By the fingerprint of the schema that reads: one for each version of an event type in this program.
    resolving: RwLock<HashMap<String, Arc<GenericDatumReader<'static>>>>,
}

/// The body of one record, not decoded yet.
#[derive(Debug)]
pub struct Datum<'a> {
    schema: Arc<WriterSchema>,
    body: &'a [u8],
}

/// A record for people to read.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodedJson {
    /// Id of the schema that it was written with.
    pub schema_id: u32,
    /// Full name of the record, empty when the schema is no record.
    pub name: String,
    /// The value.
    pub json: serde_json::Value,
}

/// Why a value could not be read. All but an outage are poison: trying again cannot help.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A record without a value (a tombstone) where an event was expected.
    #[error("the record has no value")]
    NoValue,
    /// The value does not begin with the frame's zero byte.
    #[error("the value is not in Confluent framing: it begins with {first:02x?} instead of 00")]
    NotFramed {
        /// Its first byte.
        first: Option<u8>,
    },
    /// The value ends inside the frame.
    #[error("the value ends after {bytes} bytes, inside its five-byte frame")]
    Truncated {
        /// Its length.
        bytes: usize,
    },
    /// The registry does not know the schema id.
    #[error("the registry knows no schema with id {id}")]
    UnknownSchema {
        /// The id in the frame.
        id: u32,
    },
    /// The registry holds something under that id that is no Avro schema.
    #[error("schema {id} is not an Avro schema: {problem}")]
    BadSchema {
        /// The id in the frame.
        id: u32,
        /// What Avro said.
        problem: String,
    },
    /// The registry is away, so nothing is known of the bytes yet.
    #[error("schema {id} is not known here and the registry cannot be asked: {source}")]
    RegistryAway {
        /// The id in the frame.
        id: u32,
        /// What happened.
        source: RegistryError,
    },
    /// The body does not fit the schema that its frame names, or that schema does not resolve to the reader's.
    #[error("the body does not fit schema {id} ({name}): {problem}")]
    Malformed {
        /// The id in the frame.
        id: u32,
        /// Full name of the record.
        name: String,
        /// What Avro said.
        problem: String,
    },
    /// An event type that the reader does not know and may not ignore.
    #[error("this consumer does not know the event type {name}")]
    UnknownType {
        /// Full name of the record.
        name: String,
    },
}

impl DecodeError {
    /// Stable code, with a page under `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoValue => "decode.no_value",
            Self::NotFramed { .. } => "decode.not_framed",
            Self::Truncated { .. } => "decode.truncated",
            Self::UnknownSchema { .. } => "decode.unknown_schema",
            Self::BadSchema { .. } => "decode.bad_schema",
            Self::RegistryAway { .. } => "registry.away",
            Self::Malformed { .. } => "decode.malformed",
            Self::UnknownType { .. } => "decode.unknown_type",
        }
    }

    /// Whether waiting helps: the registry is away.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::RegistryAway { .. })
    }
}

impl WriterSchema {
    pub(super) fn parse(id: u32, text: &str) -> Result<Self, DecodeError> {
        let bad = |error: apache_avro::Error| DecodeError::BadSchema {
            id,
            problem: error.to_string(),
        };
        // Leaked on purpose: a reader borrows its schema, and the number of schemas is bounded by the registry.
        let schema: &'static Schema = Box::leak(Box::new(Schema::parse_str(text).map_err(bad)?));
        let plain = GenericDatumReader::builder(schema)
            .human_readable(true)
            .build()
            .map_err(bad)?;
        let name = schema
            .name()
            .map(|name| name.fullname(None))
            .unwrap_or_default();
        Ok(Self {
            id,
            name,
            fingerprint: fingerprint(schema),
            plain,
            schema,
            resolving: RwLock::default(),
        })
    }

    fn resolving_to<E: Event>(
        &self,
    ) -> Result<Arc<GenericDatumReader<'static>>, apache_avro::Error> {
        let key = E::schema().fingerprint();
        if let Some(reader) = self
            .resolving
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
        {
            return Ok(Arc::clone(reader));
        }
        let reader = Arc::new(
            GenericDatumReader::builder(self.schema)
                .reader_schema(E::schema().avro())
                .human_readable(true)
                .build()?,
        );
        self.resolving
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.to_owned(), Arc::clone(&reader));
        Ok(reader)
    }
}

impl fmt::Debug for WriterSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriterSchema")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<'a> Datum<'a> {
    pub(super) fn new(schema: Arc<WriterSchema>, body: &'a [u8]) -> Self {
        Self { schema, body }
    }

    /// Full name of the record: the event type.
    pub fn name(&self) -> &str {
        &self.schema.name
    }

    /// Id of the schema that it was written with.
    pub fn schema_id(&self) -> u32 {
        self.schema.id
    }

    /// Reads the body as an event, resolving an older or newer schema to the one of this program.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`].
    pub fn read<E: Event>(&self) -> Result<E, DecodeError> {
        let mut body = self.body;
        let event = if self.schema.fingerprint == E::schema().fingerprint() {
            // Straight from bytes to the type: no tree of values in between.
            self.schema.plain.read_deser(&mut body)
        } else {
            let value = self
                .schema
                .resolving_to::<E>()
                .and_then(|reader| reader.read_value(&mut body))
                .map_err(|error| self.malformed(&error))?;
            apache_avro::from_value(&value)
        };
        let event = event.map_err(|error| self.malformed(&error))?;
        self.refuse_rest(body)?;
        Ok(event)
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`].
    pub fn to_json(&self) -> Result<DecodedJson, DecodeError> {
        let mut body = self.body;
        let value: Value = self
            .schema
            .plain
            .read_value(&mut body)
            .map_err(|error| self.malformed(&error))?;
        self.refuse_rest(body)?;
        let json = serde_json::Value::try_from(value).map_err(|error| self.malformed(&error))?;
        Ok(DecodedJson {
            schema_id: self.schema.id,
            name: self.schema.name.clone(),
            json,
        })
    }

    /// Bytes after the record's end mean that it is not what its frame says.
    fn refuse_rest(&self, rest: &[u8]) -> Result<(), DecodeError> {
        if rest.is_empty() {
            return Ok(());
        }
        Err(DecodeError::Malformed {
            id: self.schema.id,
            name: self.schema.name.clone(),
            problem: format!("{} bytes are left over after the record's end", rest.len()),
        })
    }

    fn malformed(&self, error: &apache_avro::Error) -> DecodeError {
        DecodeError::Malformed {
            id: self.schema.id,
            name: self.schema.name.clone(),
            problem: error.to_string(),
        }
    }
}
