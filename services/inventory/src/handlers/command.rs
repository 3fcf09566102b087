//! Between the records on the wire and the rules.

use schemas::InventoryCommand;
use schemas::inventory as events;

use crate::domain::{Command, InvalidCommand, Lines, OrderId, Shortage};

/// The command that a record carries.
pub(super) fn parse(message: &InventoryCommand) -> Result<Command, InvalidCommand> {
    let order = OrderId(message.order_id());
    Ok(match message {
        InventoryCommand::ReserveStock(reserve) => {
            let lines = reserve.lines.iter();
            let lines = lines.map(|line| (line.product.as_str(), i64::from(line.quantity)));
            Command::Reserve {
                order,
                lines: Lines::parse(lines)?,
            }
        }
        InventoryCommand::CommitStock(_) => Command::Commit { order },
        InventoryCommand::ReleaseStock(_) => Command::Release { order },
    })
}

/// A shortage as the answer carries it.
pub(super) fn shortage(shortage: Shortage) -> events::Shortage {
    events::Shortage {
        product: shortage.product.into_string(),
        // Lines::parse keeps every wish within 32 bits.
        wanted: i32::try_from(shortage.wanted).unwrap_or(i32::MAX),
        available: shortage.available,
    }
}
