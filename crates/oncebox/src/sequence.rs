//! Order where the source has none: a consumer that demands each key's sequence (header `oncebox-sequence`).
//!
//! Kafka keeps the order in which records were produced, which is not the order of events where a producer sends them
//! concurrently, retries without idempotence, or several producers write one key. Where each event says its position in
//! its key's stream, a consumer restores the order:
//!
//! ```
//! # use std::time::Duration;
//! # use oncebox::sequence::{InSequence, OnGap};
//! # let mut settings = oncebox::ConsumerSettings::new("127.0.0.1:9092", "billing", ["meter.readings"]);
//! settings.in_sequence = Some(InSequence {
//!     deadline: Duration::from_secs(30),
//!     on_gap: OnGap::DeadLetter,
//!     ..InSequence::default()
//! });
//! ```
//!
//! How far a key is finished is kept by (group, topic, key) in `oncebox.sequences`, in the transaction of the effects.
//!
//! - The next of its key is handled.
//! - One that others have to precede is parked, with what follows of its key, until they have come; then all are handled in
//!   order. Records of one key may come by different partitions.
//! - One whose sequence is finished is dropped and counted (`oncebox_consumer_sequence_dropped_total`).
//! - When the missing one has not come by the [deadline](InSequence::deadline), [`OnGap`] says what becomes of those that
//!   wait. Should it come after all, it is dead-lettered (`sequence.late`): handled, it would break the order, and dropped,
//!   it would be lost.
//! - One without key or sequence is dead-lettered (`sequence.no_key`, `sequence.missing`, `sequence.malformed`).
//!
//! A sequence counts as finished as well when its record was dead-lettered, when its type is none of the consumer's
//! business, and when its type is [order-free](crate::BatchHandler::order_free), which never waits. A replayed record
//! is handled when it comes. A parked key that waits says so ([`ParkedKey::waits_for`](crate::parking::ParkedKey::waits_for));
//! [`Parking::dead_letter_now`](crate::Parking::dead_letter_now) gives its first record up before the deadline.
//!
//! Writers of this kit number their events by [`OutboxBatch::push_in_sequence`](crate::OutboxBatch::push_in_sequence).
//!
//! The table has one row of about 100 bytes for each key, for as long as the key may have events. When the last event of a
//! key has been handled, its row may be deleted; where sequences begin [anywhere](InSequence::first), at any time.

#[cfg(test)]
mod model;
mod ranges;
pub(crate) mod store;
mod stream;

use std::time::Duration;

pub(crate) use stream::{Arrangement, Fate, Stream, wait_longer};

use crate::failure::{Classify, ErrorClass};
use crate::headers::{Headers, names};

/// No sequence is larger: so that none overflows.
const LARGEST: i64 = 1 << 62;

/// How a consumer demands each key's sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InSequence {
    /// How long records wait for one that is missing, from when the first of them was parked; 60 s. It counts anew
    /// after an outage, a restart and a rebalance, during which nothing could come. A record that lies unread in the
    /// topic has not come: let the deadline be longer than the consumer may lag.
    pub deadline: Duration,
    /// What becomes of records that have waited that long; they are handled.
    pub on_gap: OnGap,
    /// The sequence that each key begins with; 1. None: a key begins with whatever comes first, which is right for a
    /// consumer that starts in the middle of a stream, or demands sequences only from now on.
    pub first: Option<u64>,
}

impl Default for InSequence {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(60),
            on_gap: OnGap::default(),
            first: Some(1),
        }
    }
}

/// What becomes of a key's records that waited in vain for the one before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnGap {
    /// They are handled, up to the next gap, which has a deadline of its own.
    #[default]
    Process,
    /// They are dead-lettered (`sequence.gap`), up to the next gap; what comes later is handled. With
    /// [`OnDeadLetter::Hold`](crate::OnDeadLetter::Hold) the first of them holds the others.
    DeadLetter,
}

impl OnGap {
    /// The word for it in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::DeadLetter => "dead_letter",
        }
    }
}

/// Why a record has no place in its key's order. Permanent, each of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// It has no key, so it belongs to no stream.
    #[error("the consumer demands sequences, and the record has no key")]
    NoKey,
    /// It has no sequence.
    #[error(
        "the consumer demands sequences, and the record has no header {}",
        names::SEQUENCE
    )]
    Missing,
    /// Its sequence cannot be read.
    #[error(
        "the header {} is no whole number from 0 to 2^62 in decimal digits",
        names::SEQUENCE
    )]
    Malformed,
    /// The one before it did not come in time.
    #[error("sequence {sequence} waited in vain for an earlier one of its key")]
    Gap {
        /// The record's sequence.
        sequence: i64,
    },
    /// It came when it had been given up.
    #[error(
        "sequence {sequence} came when it had been given up, and later ones of its key were finished"
    )]
    Late {
        /// The record's sequence.
        sequence: i64,
    },
}

impl Classify for SequenceError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Permanent
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoKey => "sequence.no_key",
            Self::Missing => "sequence.missing",
            Self::Malformed => "sequence.malformed",
            Self::Gap { .. } => "sequence.gap",
            Self::Late { .. } => "sequence.late",
        }
    }
}

/// The sequence that a record's headers state.
pub(crate) fn sequence_of(headers: &Headers) -> Result<i64, SequenceError> {
    let Some(bytes) = headers.get(names::SEQUENCE) else {
        return Err(SequenceError::Missing);
    };
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    // A sign would parse too.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SequenceError::Malformed);
    }
    match text.parse::<i64>() {
        Ok(sequence) if sequence <= LARGEST => Ok(sequence),
        _ => Err(SequenceError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_decimal_digits() {
        let of = |value: Option<&str>| {
            let mut headers = Headers::new();
            if let Some(value) = value {
                headers.push(names::SEQUENCE, value);
            }
            sequence_of(&headers)
        };
        assert_eq!(of(Some("0")), Ok(0));
        assert_eq!(of(Some("007")), Ok(7));
        assert_eq!(of(Some("4611686018427387904")), Ok(LARGEST));
        assert_eq!(of(None), Err(SequenceError::Missing));
        for bad in [
            "",
            "-1",
            "+1",
            "1.0",
            " 1",
            "4611686018427387905",
            "99999999999999999999",
        ] {
            assert_eq!(of(Some(bad)), Err(SequenceError::Malformed), "{bad:?}");
        }
    }
}
