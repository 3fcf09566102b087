//! The commands of a batch by order: those of one order one after the other, different orders side by side.

use std::collections::{HashMap, VecDeque};

use oncebox::{BatchFailure, Cause, Delivery, ErrorClass, Failure};
use schemas::PaymentCommand;

use super::{PaymentFailure, command};
use crate::domain::command::Command;
use crate::domain::decision::Absent;
use crate::domain::operation::OrderId;

/// More steps than the longest way through the rules: look up, authorise, look up, void, conflict, look up, refund.
const MOST_STEPS: u32 = 16;

#[derive(Debug)]
pub(super) struct Queue {
    orders: HashMap<OrderId, VecDeque<Task>>,
    failed: Vec<(usize, Failure)>,
}

/// A command on its way.
#[derive(Debug)]
pub(super) struct Task {
    index: usize,
    pub(super) command: Command,
    pub(super) cause: Cause,
    pub(super) absent: Absent,
    /// The provider said that the authorisation's state forbids a void: once it may have been captured meanwhile.
    pub(super) conflicted: bool,
    steps: u32,
}

impl Queue {
    pub(super) fn of(batch: &[Delivery<PaymentCommand>]) -> Self {
        let mut queue = Self {
            orders: HashMap::new(),
            failed: Vec::new(),
        };
        for (index, delivery) in batch.iter().enumerate() {
            match command::of(&delivery.message) {
                Ok(command) => {
                    let tasks = queue.orders.entry(command.order).or_default();
                    let cause = delivery.cause();
                    tasks.push_back(Task {
                        index,
                        command,
                        cause,
                        absent: Absent::default(),
                        conflicted: false,
                        steps: 0,
                    });
                }
                Err(failure) => queue.failed.push((index, failure.into())),
            }
        }
        queue
    }

    /// The next command of each order. A command that takes too many steps is given up here.
    pub(super) fn heads(&mut self) -> Vec<Command> {
        let orders: Vec<OrderId> = self.orders.keys().copied().collect();
        for order in orders {
            let Some(task) = self.task(order) else {
                continue;
            };
            task.steps += 1;
            if task.steps > MOST_STEPS {
                self.fail(order, PaymentFailure::NotSettling { order }.into());
            }
        }
        self.orders
            .values()
            .filter_map(VecDeque::front)
            .map(|task| task.command.clone())
            .collect()
    }

    pub(super) fn task(&mut self, order: OrderId) -> Option<&mut Task> {
        self.orders.get_mut(&order)?.front_mut()
    }

    /// The order's command is settled: the next one's turn.
    pub(super) fn settled(&mut self, order: OrderId) {
        if let Some(tasks) = self.orders.get_mut(&order) {
            tasks.pop_front();
            if tasks.is_empty() {
                self.orders.remove(&order);
            }
        }
    }

    /// The order's command failed: what comes after it waits, or it would overtake.
    pub(super) fn fail(&mut self, order: OrderId, failure: Failure) {
        if let Some(task) = self
            .orders
            .remove(&order)
            .and_then(|mut tasks| tasks.pop_front())
        {
            self.failed.push((task.index, failure));
        }
    }

    /// The provider away is everybody's outage: the whole batch waits for it, and no record is taken out of it. What was
    /// settled meanwhile is stored, and not repeated.
    pub(super) fn into_result(mut self) -> Result<(), BatchFailure> {
        let outage = |(_, failure): &(usize, Failure)| failure.class == ErrorClass::Outage;
        if let Some(position) = self.failed.iter().position(outage) {
            return Err(BatchFailure::Whole(self.failed.swap_remove(position).1));
        }
        if self.failed.is_empty() {
            Ok(())
        } else {
            Err(BatchFailure::Records(self.failed))
        }
    }
}
