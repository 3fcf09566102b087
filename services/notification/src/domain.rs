//! What customers are told, as pure types and functions: no I/O, no async, no clock. For the rooms around it
//! (`api`, `store`, `mailer`, `handlers`), which depend on it and never the other way round.

pub mod letter;
pub mod money;
pub mod notification;
pub mod recipient;

pub use letter::{Letter, Outcome};
pub use notification::{Channel, Status, Template};
pub use recipient::Recipient;
