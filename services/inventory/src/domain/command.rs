//! What inventory is asked to do, and what it answers.

use std::collections::BTreeMap;

use super::{InvalidProduct, OrderId, Product};

/// The most units of one product that one order can want: what the answer's field holds.
pub const MAX_UNITS: i64 = i32::MAX as i64;

/// Units of a product in one order: from 1 to [`MAX_UNITS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(i64);

impl Quantity {
    /// `None` unless `units` is within bounds.
    pub fn new(units: i64) -> Option<Self> {
        (1..=MAX_UNITS).contains(&units).then_some(Self(units))
    }

    pub fn units(self) -> i64 {
        self.0
    }
}

/// What an order wants: at least one product, each once, in the order in which stock is locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines(BTreeMap<Product, Quantity>);

/// A command that can never be carried out, whatever the stock.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCommand {
    #[error("the command has no lines")]
    NoLines,
    #[error("line {line}: {reason}")]
    Product { line: usize, reason: InvalidProduct },
    #[error(
        "line {line}: the quantity of {product} is {quantity}, it must be from 1 to {MAX_UNITS}"
    )]
    Quantity {
        line: usize,
        product: Product,
        quantity: i64,
    },
    #[error("line {line}: the quantities of {product} add up to more than {MAX_UNITS}")]
    TooMany { line: usize, product: Product },
}

impl Lines {
    /// Checks the lines of a command. A product that appears twice is wanted with both quantities.
    pub fn parse<'a>(
        lines: impl IntoIterator<Item = (&'a str, i64)>,
    ) -> Result<Self, InvalidCommand> {
        let mut wanted: BTreeMap<Product, Quantity> = BTreeMap::new();
        for (line, (product, quantity)) in lines.into_iter().enumerate() {
            let product = Product::parse(product)
                .map_err(|reason| InvalidCommand::Product { line, reason })?;
            let Some(units) = Quantity::new(quantity) else {
                return Err(InvalidCommand::Quantity {
                    line,
                    product,
                    quantity,
                });
            };
            let before = wanted.get(&product).map_or(0, |quantity| quantity.units());
            let Some(sum) = Quantity::new(before + units.units()) else {
                return Err(InvalidCommand::TooMany { line, product });
            };
            wanted.insert(product, sum);
        }
        if wanted.is_empty() {
            return Err(InvalidCommand::NoLines);
        }
        Ok(Self(wanted))
    }

    /// The lines, sorted by product.
    pub fn iter(&self) -> impl Iterator<Item = (&Product, Quantity)> {
        self.0
            .iter()
            .map(|(product, quantity)| (product, *quantity))
    }
}

/// One command for one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Promise all lines, or none.
    Reserve { order: OrderId, lines: Lines },
    /// The order is paid: take its units out of the warehouse.
    Commit { order: OrderId },
    /// The order ended otherwise: give back whatever it holds.
    Release { order: OrderId },
}

impl Command {
    pub fn order(&self) -> OrderId {
        match self {
            Self::Reserve { order, .. } | Self::Commit { order } | Self::Release { order } => {
                *order
            }
        }
    }
}

/// A product of which an order wanted more than was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    pub product: Product,
    pub wanted: i64,
    /// What could have been promised; 0 for a product that nobody ever stocked.
    pub available: i64,
}

/// What the order service is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Reserved,
    Rejected(Vec<Shortage>),
    Committed,
    Released,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_checked_and_merged() {
        let lines = Lines::parse([("tea", 2), ("mug", 1), ("tea", 3)]).unwrap();
        let lines: Vec<_> = lines.iter().map(|(p, q)| (p.as_str(), q.units())).collect();
        assert_eq!(lines, [("mug", 1), ("tea", 5)]);

        assert_eq!(Lines::parse([]), Err(InvalidCommand::NoLines));
        for quantity in [0, -1, MAX_UNITS + 1] {
            assert!(matches!(
                Lines::parse([("tea", 1), ("mug", quantity)]),
                Err(InvalidCommand::Quantity { line: 1, .. })
            ));
        }
        assert!(matches!(
            Lines::parse([("tea", MAX_UNITS), ("tea", 1)]),
            Err(InvalidCommand::TooMany { line: 1, .. })
        ));
        assert!(matches!(
            Lines::parse([("", 1)]),
            Err(InvalidCommand::Product {
                line: 0,
                reason: InvalidProduct::Empty
            })
        ));
    }
}
