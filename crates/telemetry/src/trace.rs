//! A place in a distributed trace, and its `traceparent` notation.
//!
//! Source: W3C Trace Context, recommendation of 23 November 2021, sections 3.2 and 4.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::OnceLock;
use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Length of `00-<32 hex>-<16 hex>-<2 hex>`.
const LENGTH: usize = 55;
const SAMPLED: u8 = 0x01;

/// A place in a distributed trace: which trace, which span of it, and whether the trace is being recorded.
///
/// [`Display`](fmt::Display) and [`FromStr`] are the `traceparent` header's notation.
///
/// ```
/// use telemetry::TraceContext;
///
/// let caller: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?;
/// let here = caller.child();
/// assert_eq!(here.trace_id(), caller.trace_id());
/// assert_ne!(here.span_id(), caller.span_id());
/// assert!(here.to_string().starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
/// # Ok::<(), telemetry::InvalidTraceparent>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace: u128,
    span: u64,
    flags: u8,
}

impl TraceContext {
    /// A new trace, marked as sampled, with its first span.
    #[must_use]
    pub fn root() -> Self {
        Self {
            trace: not_zero(rand::random),
            span: not_zero(rand::random),
            flags: SAMPLED,
        }
    }

    /// A new span of the same trace.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            span: not_zero(rand::random),
            ..*self
        }
    }

    /// The span of the same trace that stands for a piece of work: whenever this process asks for that work, the same one;
    /// another process has another.
    ///
    /// ```
    /// let caller = telemetry::TraceContext::root();
    /// assert_eq!(caller.child_for(&"order 1"), caller.child_for(&"order 1"));
    /// assert_ne!(caller.child_for(&"order 1"), caller.child_for(&"order 2"));
    /// assert_eq!(caller.child_for(&"order 1").trace_id(), caller.trace_id());
    /// ```
    #[must_use]
    pub fn child_for(&self, work: &impl Hash) -> Self {
        static KEYS: OnceLock<RandomState> = OnceLock::new();
        let keys = KEYS.get_or_init(RandomState::new);
        let mut tries = 0_u8;
        Self {
            span: not_zero(|| {
                tries = tries.wrapping_add(1);
                keys.hash_one((self.span, work, tries))
            }),
            ..*self
        }
    }

    /// The trace's id: 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }

    /// The span's id: 16 lower-case hexadecimal digits.
    #[must_use]
    pub fn span_id(&self) -> String {
        format!("{:016x}", self.span)
    }

    /// Whether the caller may have recorded this trace.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

/// All zeroes means "no id" in the specification, so it is never generated.
fn not_zero<T: Default + PartialEq>(mut next: impl FnMut() -> T) -> T {
    loop {
        let id = next();
        if id != T::default() {
            return id;
        }
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace, self.span, self.flags
        )
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceContext({self})")
    }
}

/// A text that is no `traceparent`. Whoever receives one starts a new trace, as the specification asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a traceparent: expected 00-<32 lower-case hex>-<16 lower-case hex>-<2 lower-case hex>, ids not all zero"
)]
pub struct InvalidTraceparent;

impl FromStr for TraceContext {
    type Err = InvalidTraceparent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = text.as_bytes();
        let version = hex(bytes.get(..2))? as u8;
        // A later version may append fields, after another dash; version 00 is exactly this long, and ff is forbidden.
        let length_fits = match version {
            0x00 => bytes.len() == LENGTH,
            0xff => false,
            _ => bytes.len() == LENGTH || bytes.get(LENGTH) == Some(&b'-'),
        };
        let dashes = [2, 35, 52].iter().all(|&at| bytes.get(at) == Some(&b'-'));
        if !length_fits || !dashes {
            return Err(InvalidTraceparent);
        }
        let trace = hex(bytes.get(3..35))?;
        let span = hex(bytes.get(36..52))? as u64;
        let flags = hex(bytes.get(53..55))? as u8;
        if trace == 0 || span == 0 {
            return Err(InvalidTraceparent);
        }
        // Flags that version 00 does not define must not be passed on.
        Ok(Self {
            trace,
            span,
            flags: flags & SAMPLED,
        })
    }
}

/// Lower-case hexadecimal only: `from_str_radix` would also take capitals and a plus sign.
fn hex(digits: Option<&[u8]>) -> Result<u128, InvalidTraceparent> {
    digits
        .ok_or(InvalidTraceparent)?
        .iter()
        .try_fold(0, |value, digit| match digit {
            b'0'..=b'9' => Ok(value << 4 | u128::from(digit - b'0')),
            b'a'..=b'f' => Ok(value << 4 | u128::from(digit - b'a' + 10)),
            _ => Err(InvalidTraceparent),
        })
}

impl Serialize for TraceContext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceContext {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn reads_and_writes_the_examples_of_the_specification() {
        assert_eq!(
            EXAMPLE.parse::<TraceContext>().unwrap().to_string(),
            EXAMPLE
        );
        let unsampled: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
            .parse()
            .unwrap();
        assert!(!unsampled.is_sampled());
        let later: TraceContext = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff-more"
            .parse()
            .unwrap();
        assert_eq!(
            later.to_string(),
            EXAMPLE,
            "a later version is read as 00, with known flags alone"
        );
    }

    #[test]
    fn refuses_what_the_specification_refuses() {
        for wrong in [
            "",
            "00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-0",
        ] {
            assert_eq!(
                wrong.parse::<TraceContext>(),
                Err(InvalidTraceparent),
                "{wrong}"
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_back(trace in 1u128.., span in 1u64.., flags in 0u8..=1) {
            let context = TraceContext { trace, span, flags };
            prop_assert_eq!(context.to_string().parse(), Ok(context));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,80}") {
            let _ = text.parse::<TraceContext>();
        }

        #[test]
        fn one_changed_character_is_noticed_or_is_another_context(at in 0usize..55, byte in 0x20u8..0x7f) {
            let mut bytes = EXAMPLE.as_bytes().to_vec();
            bytes[at] = byte;
            let text = String::from_utf8(bytes).unwrap();
            if let Ok(context) = text.parse::<TraceContext>() {
                let lower_hex = byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
                prop_assert!(lower_hex || text == EXAMPLE, "{} was read as {}", text, context);
            }
        }
    }
}
