//! How much of one product there is, and how much of it is promised.

/// The most units of one product that can be on hand: far above any warehouse, far below the
/// point where sums of 64-bit integers or JSON numbers lose exactness.
pub const MAX_ON_HAND: i64 = 1_000_000_000_000;

/// The stock of one product. Keeps `0 <= reserved <= on_hand <= MAX_ON_HAND`; every change goes
/// through a method that refuses to break it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    on_hand: i64,
    reserved: i64,
}

/// Why a level cannot change as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    #[error("stock on hand would be {would_be}, below zero")]
    BelowZero { would_be: i64 },
    #[error("stock on hand would be {would_be}, below the {reserved} units that are reserved")]
    BelowReserved { would_be: i64, reserved: i64 },
    #[error("stock on hand would be above {MAX_ON_HAND}")]
    AboveMaximum,
}

impl Level {
    /// A level with `on_hand` units of which `reserved` are promised.
    pub fn new(on_hand: i64, reserved: i64) -> Result<Self, LevelError> {
        if on_hand < 0 {
            return Err(LevelError::BelowZero { would_be: on_hand });
        }
        if on_hand > MAX_ON_HAND {
            return Err(LevelError::AboveMaximum);
        }
        if on_hand < reserved || reserved < 0 {
            return Err(LevelError::BelowReserved {
                would_be: on_hand,
                reserved,
            });
        }
        Ok(Self { on_hand, reserved })
    }

    pub fn on_hand(self) -> i64 {
        self.on_hand
    }

    pub fn reserved(self) -> i64 {
        self.reserved
    }

    /// What can still be promised.
    pub fn available(self) -> i64 {
        self.on_hand - self.reserved
    }

    /// The level after an operator counted `on_hand` units.
    pub fn set_on_hand(self, on_hand: i64) -> Result<Self, LevelError> {
        Self::new(on_hand, self.reserved)
    }

    /// The level after `delta` units came in (or, negative, went out).
    pub fn adjust(self, delta: i64) -> Result<Self, LevelError> {
        self.set_on_hand(self.on_hand.saturating_add(delta))
    }

    /// Promises `units`; `None` when fewer are available.
    pub(super) fn reserve(self, units: i64) -> Option<Self> {
        (units <= self.available()).then_some(Self {
            on_hand: self.on_hand,
            reserved: self.reserved + units,
        })
    }

    /// Takes promised `units` out of the warehouse; `None` when fewer are promised.
    pub(super) fn commit(self, units: i64) -> Option<Self> {
        (units <= self.reserved).then_some(Self {
            on_hand: self.on_hand - units,
            reserved: self.reserved - units,
        })
    }

    /// Takes a promise of `units` back; `None` when fewer are promised.
    pub(super) fn release(self, units: i64) -> Option<Self> {
        (units <= self.reserved).then_some(Self {
            on_hand: self.on_hand,
            reserved: self.reserved - units,
        })
    }

    /// Puts `units` that had been committed back; `None` when they do not fit.
    pub(super) fn restock(self, units: i64) -> Option<Self> {
        self.adjust(units).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_never_goes_below_what_is_reserved() {
        let level = Level::new(5, 3).unwrap();
        assert_eq!(level.available(), 2);
        assert_eq!(level.adjust(-2).unwrap(), Level::new(3, 3).unwrap());
        assert_eq!(
            level.adjust(-3),
            Err(LevelError::BelowReserved {
                would_be: 2,
                reserved: 3
            })
        );
        assert_eq!(
            level.adjust(-6),
            Err(LevelError::BelowZero { would_be: -1 })
        );
        assert_eq!(level.adjust(i64::MAX), Err(LevelError::AboveMaximum));
        assert_eq!(level.reserve(3), None);
        assert_eq!(level.reserve(2), Some(Level::new(5, 5).unwrap()));
    }
}
