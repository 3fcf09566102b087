//! What an order is and which rules it keeps, as pure types and functions: no I/O, no async, no
//! clock. For the rooms around it (`api`, `store`, `handlers`), which depend on it and never the
//! other way round.

pub mod ids;
pub mod money;
pub mod saga;
pub mod submission;

pub use ids::{CustomerId, OrderId, ProductId};
pub use money::{Currency, Money, Quantity};
pub use submission::{FieldError, Line, Submission};
