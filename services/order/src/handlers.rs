//! What inventory and payment answer, and what the clock says: events in, the order's next step out.

pub mod housekeeping;
pub mod replies;
pub mod sweep;
