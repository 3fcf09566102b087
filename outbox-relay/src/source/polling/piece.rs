//! How many rows of a backlog to ask for at once.
//!
//! A batch ends at a number of bytes, and the database has to look at every row that it is asked for to find where: to ask
//! for ten thousand of which three thousand fit would be three times the work.

/// Grows while everything that was asked for fits, and follows what fits otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    rows: i64,
}

impl Piece {
    pub(super) fn new() -> Self {
        Self { rows: 1_000 }
    }

    /// How many to ask for, of so many at most.
    pub(super) fn rows(self, most: i64) -> i64 {
        self.rows.min(most).max(1)
    }

    /// After so many were asked for, and so many fitted.
    pub(super) fn after(asked: i64, fitted: usize) -> Self {
        let fitted = i64::try_from(fitted).unwrap_or(i64::MAX);
        Self {
            rows: if fitted >= asked {
                asked.saturating_mul(2)
            } else {
                // A little more, or it could never grow again.
                fitted.saturating_add(fitted / 8).saturating_add(16)
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_what_fits_and_grows_where_all_does() {
        let mut piece = Piece::new();
        for asked in [1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
            assert_eq!(piece.rows(10_000), asked);
            piece = Piece::after(asked, usize::try_from(asked).unwrap());
        }
        piece = Piece::after(10_000, 3_400);
        assert_eq!(piece.rows(10_000), 3_841);
        // The last rows of a window, of which there are few, and one that is too large for any batch.
        piece = Piece::after(3_841, 1);
        assert_eq!((piece.rows(10_000), piece.rows(1)), (17, 1));
        for _ in 0..10 {
            piece = Piece::after(piece.rows(10_000), 100_000);
        }
        assert_eq!(piece.rows(10_000), 10_000);
    }
}
