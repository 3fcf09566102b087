//! The ledger entry of one order: what it was promised, and how that ended.

use std::fmt;

use uuid::Uuid;

use super::{Product, Shortage};

/// The order for which stock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(pub Uuid);

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What became of an order's wish. The entry is never deleted: a command that comes again, however
/// late, finds its answer here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// What was asked for, sorted by product; empty when a release came before any reserve.
    pub lines: Vec<(Product, i64)>,
    pub state: State,
}

/// Where a reservation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The lines are promised: counted in `reserved` and still on hand.
    Reserved,
    /// Nothing was promised, because these products were short.
    Rejected(Vec<Shortage>),
    /// The lines have left the warehouse.
    Committed,
    /// Nothing is held, and nothing will be: also what a release leaves that came first.
    Released,
}

impl State {
    /// The name under which the state is stored and shown.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Rejected(_) => "rejected",
            Self::Committed => "committed",
            Self::Released => "released",
        }
    }

    /// Whether a command can still move stock because of it.
    pub fn can_move(&self) -> bool {
        matches!(self, Self::Reserved | Self::Committed)
    }
}
