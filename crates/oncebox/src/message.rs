//! What a consumer reads: an enum with one variant for each event type of its topics.

use crate::codec::{Codec, DecodeError};

/// A type that a record's value decodes to. Implement it with [`messages!`](crate::messages!).
pub trait Message: Sized + Send + Sync + 'static {
    /// Decodes a value. `None` is an event type that this consumer leaves to others.
    ///
    /// # Errors
    /// [`DecodeError`]: poison, or a registry that is away.
    fn decode(
        codec: &Codec,
        value: Option<&[u8]>,
    ) -> impl Future<Output = Result<Option<Self>, DecodeError>> + Send;
}

/// A value that is not decoded: for consumers that pass records on or keep them, such as an index of dead letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Raw;

impl Message for Raw {
    async fn decode(_: &Codec, _: Option<&[u8]>) -> Result<Option<Self>, DecodeError> {
        Ok(Some(Self))
    }
}

/// Declares an enum over event types and implements [`Message`] for it.
///
/// `others skip` ignores event types that are not listed: right for a topic of facts, where a new type must not
/// hurt an old consumer. `others dead_letter` keeps them as dead letters: right for commands, which
/// somebody has to carry out.
///
/// ```
/// # #[derive(Debug, serde::Serialize, serde::Deserialize)]
/// # pub struct Pinged { id: String }
/// # oncebox::event! {
/// #     Pinged = "demo.Pinged" on "demo.events" keyed by |event| event.id.clone(),
/// #     schema r#"{"type": "record", "name": "Pinged", "namespace": "demo", "fields": [{"name": "id", "type": "string"}]}"#
/// # }
/// oncebox::messages! {
///     /// What the demo topic carries.
///     pub enum DemoEvent { Pinged }
///     others skip
/// }
/// ```
#[macro_export]
macro_rules! messages {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($event:ident),+ $(,)? } others $unknown:ident) => {
        $(#[$meta])*
        #[derive(Debug)]
        #[allow(missing_docs)]
        $vis enum $name {
            $($event($event)),+
        }

        impl $crate::Message for $name {
            async fn decode(
                codec: &$crate::Codec,
                value: Option<&[u8]>,
            ) -> Result<Option<Self>, $crate::DecodeError> {
                let datum = codec.open(value).await?;
                match datum.name() {
                    $(<$event as $crate::Event>::TYPE => Ok(Some(Self::$event(datum.read()?))),)+
                    other => $crate::messages!(@unknown $unknown other),
                }
            }
        }

        $(impl From<$event> for $name {
            fn from(event: $event) -> Self {
                Self::$event(event)
            }
        })+
    };
    (@unknown skip $other:ident) => {{
        let _ = $other;
        Ok(None)
    }};
    (@unknown dead_letter $other:ident) => {
        Err($crate::DecodeError::UnknownType { name: $other.to_owned() })
    };
}
