//! What can be wrong in the second phase.

use oncebox::{Classify, ErrorClass};
use uuid::Uuid;

use crate::domain::Template;

/// The log does not say that the message ended, although the first phase saw to it: somebody changed the row between
/// the two. The first phase runs again with the next try.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the notification {} of order {order} is not finished yet", .template.as_str())]
pub struct NotPrepared {
    /// The order.
    pub order: Uuid,
    /// Which text.
    pub template: Template,
}

impl Classify for NotPrepared {
    fn class(&self) -> ErrorClass {
        ErrorClass::Transient
    }

    fn code(&self) -> &'static str {
        "notification.not_prepared"
    }
}
