//! What an event is: a typed Avro record with a topic, a key and an id.

use std::fmt;

use apache_avro::Schema;
use apache_avro::writer::datum::GenericDatumWriter;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// Identity of an event: a UUIDv7, so that ids sort by the time at which they were made.
///
/// A consumer's effects happen once for each id (guarantee G5); whoever writes the same fact again
/// must use the same id, and whoever writes another fact must use another.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct EventId(Uuid);

impl EventId {
    /// A new id, ordered after those that this process made before.
    #[expect(
        clippy::new_without_default,
        reason = "a default value that differs at each call would surprise"
    )]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id of an event that exists already.
    pub fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    /// The id as a plain UUID.
    pub fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for EventId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// A typed event. Implement it with [`event!`](crate::event!).
pub trait Event: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The full name of the Avro record, which is also the CloudEvents type.
    const TYPE: &'static str;
    /// The topic, without an environment's prefix.
    const TOPIC: &'static str;
    /// The Avro schema as its file has it.
    const SCHEMA: &'static str;

    /// The schema, parsed once for the process.
    fn schema() -> &'static EventSchema;

    /// The aggregate id: records of one key keep their order (guarantee G3).
    fn key(&self) -> String;

    /// The registry's subject: topic and record name, so that several types share a topic.
    fn subject() -> String {
        format!("{}-{}", Self::TOPIC, Self::TYPE)
    }
}

/// A schema with everything that encoding would otherwise compute for each record.
pub struct EventSchema {
    schema: &'static Schema,
    writer: GenericDatumWriter<'static>,
    fingerprint: String,
}

impl EventSchema {
    /// Parses a schema that is compiled into the program and lives as long as it.
    ///
    /// # Panics
    /// When the text is no Avro schema: a mistake in the source code, found by the first test that touches the event.
    pub fn parse(name: &str, text: &str) -> Self {
        let schema: &'static Schema = match Schema::parse_str(text) {
            Ok(schema) => Box::leak(Box::new(schema)),
            Err(error) => panic!("the schema of {name} is not Avro: {error}"),
        };
        let writer = match GenericDatumWriter::builder(schema)
            .human_readable(true)
            .build()
        {
            Ok(writer) => writer,
            Err(error) => panic!("the schema of {name} does not resolve: {error}"),
        };
        Self {
            schema,
            writer,
            fingerprint: fingerprint(schema),
        }
    }

    /// The parsed schema.
    pub fn avro(&self) -> &'static Schema {
        self.schema
    }

    /// SHA-256 of the canonical form, in hex: equal schemas have equal fingerprints.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(crate) fn writer(&self) -> &GenericDatumWriter<'static> {
        &self.writer
    }
}

impl fmt::Debug for EventSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSchema")
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

/// SHA-256 of a schema's parsing canonical form (Avro specification), in hex.
pub(crate) fn fingerprint(schema: &Schema) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(schema.canonical_form().as_bytes()))
}

/// Implements [`Event`] for a serde type.
///
/// ```
/// #[derive(Debug, serde::Serialize, serde::Deserialize)]
/// struct Pinged {
///     id: String,
/// }
/// oncebox::event! {
///     Pinged = "demo.Pinged" on "demo.events" keyed by |event| event.id.clone(),
///     schema r#"{"type": "record", "name": "Pinged", "namespace": "demo",
///               "fields": [{"name": "id", "type": "string"}]}"#
/// }
/// use oncebox::Event;
/// assert_eq!(Pinged::subject(), "demo.events-demo.Pinged");
/// assert_eq!(Pinged { id: "a".into() }.key(), "a");
/// ```
#[macro_export]
macro_rules! event {
    ($name:ident = $type:literal on $topic:literal keyed by |$event:ident| $key:expr, schema $schema:expr) => {
        impl $crate::Event for $name {
            const TYPE: &'static str = $type;
            const TOPIC: &'static str = $topic;
            const SCHEMA: &'static str = $schema;

            fn schema() -> &'static $crate::EventSchema {
                static SCHEMA: ::std::sync::LazyLock<$crate::EventSchema> =
                    ::std::sync::LazyLock::new(|| $crate::EventSchema::parse($type, $schema));
                &SCHEMA
            }

            fn key(&self) -> String {
                let $event = self;
                $key
            }
        }
    };
}
