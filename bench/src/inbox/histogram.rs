//! Latencies in a fixed amount of memory, exact to about 1.6 %.

use serde::{Deserialize, Serialize};

/// Steps between a power of two and the next.
const STEPS: u64 = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();

/// Counts by size.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Histogram(Vec<u64>);

impl Default for Histogram {
    fn default() -> Self {
        Self(vec![0; bucket(u64::MAX) + 1])
    }
}

impl Histogram {
    pub(crate) fn add(&mut self, micros: u64) {
        if let Some(count) = self.0.get_mut(bucket(micros)) {
            *count += 1;
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The latency that this part of all (0 to 1) do not exceed, in milliseconds.
    pub(crate) fn at_ms(&self, part: f64) -> f64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count, far below 2^52"
        )]
        let wanted = (self.count() as f64 * part).ceil() as u64;
        let mut passed = 0;
        for (bucket, count) in self.0.iter().enumerate() {
            passed += count;
            if passed >= wanted && passed > 0 {
                return lower(bucket) as f64 / 1000.0;
            }
        }
        f64::NAN
    }
}

/// Small values have a bucket each; larger ones share it with those that agree in their first seven bits.
fn bucket(value: u64) -> usize {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(STEP_BITS + 1);
    let bucket = u64::from(shift) * STEPS + (value >> shift);
    usize::try_from(bucket).unwrap_or(usize::MAX)
}

/// The smallest value of a bucket.
fn lower(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / STEPS).saturating_sub(1);
    (bucket - shift * STEPS) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_not_far_from_its_bucket() {
        for value in [0, 1, 63, 64, 127, 128, 1_000, 12_345, 1_000_000, u64::MAX] {
            let low = lower(bucket(value));
            assert!(
                low <= value && value - low <= value / STEPS,
                "{value} in {low}"
            );
        }
        assert!(bucket(128) > bucket(127));
    }

    #[test]
    fn percentiles_are_places_in_the_sorted_list() {
        let mut histogram = Histogram::default();
        assert!(histogram.at_ms(0.5).is_nan());
        for micros in 1..=100 {
            histogram.add(micros * 1000);
        }
        assert_eq!(histogram.count(), 100);
        for (part, ms) in [(0.5, 50.0), (0.99, 99.0)] {
            let found = histogram.at_ms(part);
            assert!((found - ms).abs() <= ms / 60.0, "{found} for {ms}");
        }
    }
}
