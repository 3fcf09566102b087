//! Avro in Confluent framing: a zero byte, the schema's id as four big-endian bytes, the Avro body.
//!
//! Encoding needs the id of the event's schema, decoding needs the schema of an id. Both are asked of the
//! registry once, then kept in memory and in the service's database: a registry that is away stops
//! neither a running service nor a restarted one.

mod cache;
mod datum;
mod registry;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use sqlx::PgPool;

pub use datum::{Datum, DecodeError, DecodedJson, WriterSchema};
pub use registry::{Registry, RegistryError};

use crate::event::Event;

const MAGIC: u8 = 0;

/// Encodes events and decodes records. Cheap to clone; clones share their caches.
#[derive(Debug, Clone)]
pub struct Codec {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    store: Option<PgPool>,
    /// By event type; a handful, since there is one for each type this process writes.
    ids: RwLock<HashMap<&'static str, u32>>,
    /// By schema id; bounded by the number of schemas that were ever registered.
    schemas: RwLock<HashMap<u32, Arc<WriterSchema>>>,
    /// One asker at a time: a burst of records with a new schema id is one request.
    asking: tokio::sync::Mutex<()>,
}

/// Why an event could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The registry did not give the schema's id, and neither memory nor database holds it.
    #[error("no schema id for {subject}: {source}")]
    SchemaId {
        /// The subject that was asked for.
        subject: String,
        /// What the registry said.
        source: RegistryError,
    },
    /// The value does not fit its schema: a mistake in the event's type.
    #[error("{event_type} does not fit its schema: {source}")]
    Encode {
        /// The event's type.
        event_type: &'static str,
        /// What Avro said.
        source: Box<apache_avro::Error>,
    },
}

impl CodecError {
    /// Stable code, with a page under `docs/errors/`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::SchemaId { source, .. } => source.code(),
            Self::Encode { .. } => "codec.encode",
        }
    }
}

impl Codec {
    /// A codec that asks the registry at `registry_url` (the base of its Confluent API) and keeps what it
    /// learns in the database behind `store`, where there is one.
    ///
    /// # Errors
    /// [`RegistryError`] when the address is no URL. The registry itself is not called yet.
    pub fn new(registry_url: &str, store: Option<PgPool>) -> Result<Self, RegistryError> {
        Ok(Self {
            inner: Arc::new(Inner {
                registry: Registry::new(registry_url)?,
                store,
                ids: RwLock::default(),
                schemas: RwLock::default(),
                asking: tokio::sync::Mutex::new(()),
            }),
        })
    }

    /// The client of the registry.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// Encodes an event in Confluent framing.
    ///
    /// # Errors
    /// [`CodecError::SchemaId`] before the first success for this type, when the registry is away and the
    /// database does not know the id either; [`CodecError::Encode`] when the value does not fit.
    pub async fn encode<E: Event>(&self, event: &E) -> Result<Vec<u8>, CodecError> {
        let id = self.schema_id::<E>().await?;
        let mut bytes = Vec::with_capacity(256);
        bytes.push(MAGIC);
        bytes.extend_from_slice(&id.to_be_bytes());
        E::schema()
            .writer()
            .write_ser(&mut bytes, event)
            .map_err(|source| CodecError::Encode {
                event_type: E::TYPE,
                source: Box::new(source),
            })?;
        Ok(bytes)
    }

    /// The id of the event's schema, registering the schema when the registry does not have it.
    ///
    /// Call it at start for each type that a service writes: then a registry that goes away later is not missed.
    ///
    /// # Errors
    /// [`CodecError::SchemaId`] as for [`Codec::encode`].
    pub async fn schema_id<E: Event>(&self) -> Result<u32, CodecError> {
        if let Some(id) = self.known_id(E::TYPE) {
            return Ok(id);
        }
        let _one_asker = self.inner.asking.lock().await;
        if let Some(id) = self.known_id(E::TYPE) {
            return Ok(id);
        }
        let subject = E::subject();
        let id = match cache::load_id(
            self.inner.store.as_ref(),
            &subject,
            E::schema().fingerprint(),
        )
        .await
        {
            Some(id) => id,
            None => {
                let id = self
                    .inner
                    .registry
                    .register(&subject, E::SCHEMA)
                    .await
                    .map_err(|source| CodecError::SchemaId {
                        subject: subject.clone(),
                        source,
                    })?;
                cache::save_id(
                    self.inner.store.as_ref(),
                    &subject,
                    E::schema().fingerprint(),
                    id,
                )
                .await;
                id
            }
        };
        self.inner
            .ids
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(E::TYPE, id);
        Ok(id)
    }

    fn known_id(&self, event_type: &str) -> Option<u32> {
        self.inner
            .ids
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(event_type)
            .copied()
    }

    /// Takes the frame off a value and finds the schema that it was written with.
    ///
    /// # Errors
    /// [`DecodeError`]; [`DecodeError::is_outage`] tells a registry that is away from bytes that are wrong.
    pub async fn open<'a>(&self, value: Option<&'a [u8]>) -> Result<Datum<'a>, DecodeError> {
        let bytes = value.ok_or(DecodeError::NoValue)?;
        let (id, body) = unframe(bytes)?;
        let schema = match self.cached(id) {
            Some(schema) => schema,
            None => self.fetch(id).await?,
        };
        Ok(Datum::new(schema, body))
    }

    /// Decodes a value of any schema to JSON, for people to read.
    ///
    /// # Errors
    /// As for [`Codec::open`], and [`DecodeError::Malformed`] when the body does not fit the schema.
    pub async fn decode_json(&self, value: Option<&[u8]>) -> Result<DecodedJson, DecodeError> {
        self.open(value).await?.to_json()
    }

    /// The database that it remembers the registry's answers in.
    pub(crate) fn store(&self) -> Option<&PgPool> {
        self.inner.store.as_ref()
    }

    fn cached(&self, id: u32) -> Option<Arc<WriterSchema>> {
        self.inner
            .schemas
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
    }

    async fn fetch(&self, id: u32) -> Result<Arc<WriterSchema>, DecodeError> {
        let _one_asker = self.inner.asking.lock().await;
        if let Some(schema) = self.cached(id) {
            return Ok(schema);
        }
        let text = match cache::load_schema(self.inner.store.as_ref(), id).await {
            Some(text) => text,
            None => {
                let text = self
                    .inner
                    .registry
                    .schema(id)
                    .await
                    .map_err(|error| match error {
                        RegistryError::NotFound { .. } => DecodeError::UnknownSchema { id },
                        source => DecodeError::RegistryAway { id, source },
                    })?;
                cache::save_schema(self.inner.store.as_ref(), id, &text).await;
                text
            }
        };
        let schema = Arc::new(WriterSchema::parse(id, &text)?);
        self.inner
            .schemas
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, Arc::clone(&schema));
        Ok(schema)
    }
}

fn unframe(bytes: &[u8]) -> Result<(u32, &[u8]), DecodeError> {
    match bytes {
        [MAGIC, a, b, c, d, body @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), body)),
        [MAGIC, ..] => Err(DecodeError::Truncated { bytes: bytes.len() }),
        [] => Err(DecodeError::NotFramed { first: None }),
        [first, ..] => Err(DecodeError::NotFramed {
            first: Some(*first),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart() {
        assert!(matches!(unframe(&[0, 0, 0, 1, 2, 9]), Ok((258, [9]))));
        assert!(matches!(
            unframe(&[0, 0, 0]),
            Err(DecodeError::Truncated { bytes: 3 })
        ));
        assert!(matches!(
            unframe(&[1, 0, 0, 0, 1]),
            Err(DecodeError::NotFramed { first: Some(1) })
        ));
        assert!(matches!(
            unframe(&[]),
            Err(DecodeError::NotFramed { first: None })
        ));
    }
}
