//! The fold: commands in order, over the stock and the ledger entries that they touch.

use std::collections::{BTreeMap, BTreeSet};

use super::{Answer, Command, Level, Lines, OrderId, Product, Reservation, Shortage, State};

/// The stock and the ledger entries that a batch of commands touches, all of them and locked.
/// What is absent does not exist: a product that nobody stocked, an order never heard of.
#[derive(Debug, Clone, Default)]
pub struct Warehouse {
    levels: BTreeMap<Product, Level>,
    reservations: BTreeMap<OrderId, Reservation>,
    touched_levels: BTreeSet<Product>,
    opened: BTreeSet<OrderId>,
    moved: BTreeSet<OrderId>,
}

/// A command that cannot be answered from what is known. Nothing was changed by it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("order {0} has no reservation to commit")]
    NothingReserved(OrderId),
    #[error(
        "the stock of {product} does not hold the {units} units that order {order} has in the ledger"
    )]
    LedgerMismatch {
        order: OrderId,
        product: Product,
        units: i64,
    },
}

/// What has to be written back, in lock order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub levels: Vec<(Product, Level)>,
    /// Orders that had no entry before.
    pub opened: Vec<(OrderId, Reservation)>,
    /// Orders whose entry moved to another state; their lines stay as they were.
    pub moved: Vec<(OrderId, State)>,
}

/// What happens to the level of one line.
type Move = fn(Level, i64) -> Option<Level>;

impl Warehouse {
    pub fn new(
        levels: impl IntoIterator<Item = (Product, Level)>,
        reservations: impl IntoIterator<Item = (OrderId, Reservation)>,
    ) -> Self {
        Self {
            levels: levels.into_iter().collect(),
            reservations: reservations.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Carries out one command, or repeats the answer that it had.
    pub fn apply(&mut self, command: &Command) -> Result<Answer, Refusal> {
        match command {
            Command::Reserve { order, lines } => Ok(self.reserve(*order, lines)),
            Command::Commit { order } => self.commit(*order),
            Command::Release { order } => self.release(*order),
        }
    }

    /// What the commands so far changed.
    pub fn into_changes(mut self) -> Changes {
        let mut changes = Changes::default();
        for product in self.touched_levels {
            if let Some(level) = self.levels.remove(&product) {
                changes.levels.push((product, level));
            }
        }
        for order in self.opened {
            self.moved.remove(&order);
            if let Some(reservation) = self.reservations.remove(&order) {
                changes.opened.push((order, reservation));
            }
        }
        for order in self.moved {
            if let Some(reservation) = self.reservations.remove(&order) {
                changes.moved.push((order, reservation.state));
            }
        }
        changes
    }

    fn reserve(&mut self, order: OrderId, lines: &Lines) -> Answer {
        if let Some(reservation) = self.reservations.get(&order) {
            return match &reservation.state {
                // A reserve that comes again after the commit is told what it was told then.
                State::Reserved | State::Committed => Answer::Reserved,
                State::Rejected(shortages) => Answer::Rejected(shortages.clone()),
                // The order is over: holding anything for it now would hold it for ever.
                State::Released => Answer::Released,
            };
        }
        let shortages = self.shortages(lines);
        let state = if shortages.is_empty() {
            for (product, quantity) in lines.iter() {
                let level = self
                    .levels
                    .get(product)
                    .and_then(|l| l.reserve(quantity.units()));
                if let Some(level) = level {
                    self.set_level(product, level);
                }
            }
            State::Reserved
        } else {
            State::Rejected(shortages.clone())
        };
        let lines = lines
            .iter()
            .map(|(product, q)| (product.clone(), q.units()))
            .collect();
        self.reservations
            .insert(order, Reservation { lines, state });
        self.opened.insert(order);
        if shortages.is_empty() {
            Answer::Reserved
        } else {
            Answer::Rejected(shortages)
        }
    }

    fn commit(&mut self, order: OrderId) -> Result<Answer, Refusal> {
        let reservation = self
            .reservations
            .get(&order)
            .ok_or(Refusal::NothingReserved(order))?;
        match &reservation.state {
            State::Reserved => {
                self.move_lines(order, Level::commit)?;
                self.set_state(order, State::Committed);
                Ok(Answer::Committed)
            }
            State::Committed => Ok(Answer::Committed),
            State::Rejected(shortages) => Ok(Answer::Rejected(shortages.clone())),
            State::Released => Ok(Answer::Released),
        }
    }

    fn release(&mut self, order: OrderId) -> Result<Answer, Refusal> {
        match self
            .reservations
            .get(&order)
            .map(|reservation| &reservation.state)
        {
            Some(State::Reserved) => {
                self.move_lines(order, Level::release)?;
                self.set_state(order, State::Released);
            }
            Some(State::Committed) => {
                self.move_lines(order, Level::restock)?;
                self.set_state(order, State::Released);
            }
            // A rejected order holds nothing and keeps its reasons, for whoever asks later.
            Some(State::Rejected(_) | State::Released) => {}
            // The tombstone: a reserve that comes after its release must find the door shut.
            None => {
                let tombstone = Reservation {
                    lines: Vec::new(),
                    state: State::Released,
                };
                self.reservations.insert(order, tombstone);
                self.opened.insert(order);
            }
        }
        Ok(Answer::Released)
    }

    fn shortages(&self, lines: &Lines) -> Vec<Shortage> {
        lines
            .iter()
            .filter_map(|(product, quantity)| {
                let available = self
                    .levels
                    .get(product)
                    .map_or(0, |level| level.available());
                (quantity.units() > available).then(|| Shortage {
                    product: product.clone(),
                    wanted: quantity.units(),
                    available,
                })
            })
            .collect()
    }

    /// Moves the level of every line of the order, or of none.
    fn move_lines(&mut self, order: OrderId, step: Move) -> Result<(), Refusal> {
        let lines = match self.reservations.get(&order) {
            Some(reservation) => &reservation.lines,
            None => return Ok(()),
        };
        let mut moved = Vec::with_capacity(lines.len());
        for (product, units) in lines {
            let level = self
                .levels
                .get(product)
                .and_then(|level| step(*level, *units));
            let Some(level) = level else {
                // Only a hand in the database can bring this about; say so instead of guessing.
                let (product, units) = (product.clone(), *units);
                return Err(Refusal::LedgerMismatch {
                    order,
                    product,
                    units,
                });
            };
            moved.push((product.clone(), level));
        }
        for (product, level) in moved {
            self.set_level(&product, level);
        }
        Ok(())
    }

    fn set_level(&mut self, product: &Product, level: Level) {
        self.levels.insert(product.clone(), level);
        self.touched_levels.insert(product.clone());
    }

    fn set_state(&mut self, order: OrderId, state: State) {
        if let Some(reservation) = self.reservations.get_mut(&order) {
            reservation.state = state;
            self.moved.insert(order);
        }
    }
}

#[cfg(test)]
#[path = "warehouse_tests.rs"]
mod tests;
