//! The failure mode: outages and a deterministic share of errors, switched on while the provider runs.

use serde::{Deserialize, Serialize};

/// How the provider misbehaves at present.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({"down": false, "error_ratio": 0.1, "seed": 7}))]
pub struct Mode {
    /// Every payment call and look-up is answered 503.
    pub down: bool,
    /// Share of calls answered 500, from 0 to 1. Of these, every second one has done its work before.
    pub error_ratio: f64,
    /// Which calls fail depends on this number, the idempotency key and how often the key was called, on nothing else.
    pub seed: u64,
}

/// How one call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answered 500, nothing done.
    BeforeWork,
    /// The work is done, and the answer is 500 all the same.
    AfterWork,
}

impl Mode {
    pub fn is_valid(&self) -> bool {
        (0.0..=1.0).contains(&self.error_ratio)
    }

    /// The fate of the `nth` call with this key.
    pub fn fault(&self, key: &str, nth: u32) -> Option<Fault> {
        if self.error_ratio <= 0.0 {
            return None;
        }
        let dice = dice(self.seed, key, nth);
        // The upper 53 bits make a fraction in [0, 1); the lowest bit, not part of it, picks the kind.
        let fraction = (dice >> 11) as f64 / (1u64 << 53) as f64;
        let kind = if dice & 1 == 0 {
            Fault::BeforeWork
        } else {
            Fault::AfterWork
        };
        (fraction < self.error_ratio).then_some(kind)
    }
}

/// FNV-1a with splitmix64's finaliser: spelled out, because std's hasher may change between releases and a seed must not.
fn dice(seed: u64, key: &str, nth: u32) -> u64 {
    let input = seed
        .to_le_bytes()
        .into_iter()
        .chain(key.bytes())
        .chain(nth.to_le_bytes());
    let mut hash = input.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_fails_and_the_same_tenth_again() {
        let mode = Mode {
            error_ratio: 0.1,
            seed: 7,
            ..Mode::default()
        };
        let run = || {
            (0..10_000)
                .map(|n| mode.fault(&format!("order-{n}"), 0))
                .collect::<Vec<_>>()
        };
        let faults = run();
        let failed = faults.iter().flatten().count();
        let after = faults
            .iter()
            .flatten()
            .filter(|fault| **fault == Fault::AfterWork)
            .count();
        assert!((900..1100).contains(&failed), "{failed}");
        assert!((400..600).contains(&after), "{after}");
        assert_eq!(faults, run());
        let other = Mode { seed: 8, ..mode };
        assert_ne!(
            faults,
            (0..10_000)
                .map(|n| other.fault(&format!("order-{n}"), 0))
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn the_bounds_mean_never_and_always() {
        let never = Mode::default();
        let always = Mode {
            error_ratio: 1.0,
            ..never
        };
        assert!((0..100).all(|n| never.fault("k", n).is_none()));
        assert!((0..100).all(|n| always.fault("k", n).is_some()));
        assert!(
            !Mode {
                error_ratio: 1.1,
                ..never
            }
            .is_valid()
        );
        assert!(
            !Mode {
                error_ratio: f64::NAN,
                ..never
            }
            .is_valid()
        );
    }
}
