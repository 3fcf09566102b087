//! What can go wrong with a request for this service, apart from what every service knows.

use http_kit::{Kind, Problem, StatusCode};
use oncebox::{Classify, ErrorClass};
use uuid::Uuid;

use crate::store::progress::ProgressError;

pub(super) const NOT_FOUND: Kind =
    Kind::new(StatusCode::NOT_FOUND, "order.not_found", "no such order");
pub(super) const ALREADY_REJECTED: Kind = Kind::new(
    StatusCode::CONFLICT,
    "order.already_rejected",
    "the order was rejected already",
);
/// Only a service that never saw the registry since its database was made needs it for an answer.
const SCHEMAS_UNAVAILABLE: Kind = Kind::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "order.schemas_unavailable",
    "the schema registry cannot be reached, and this service has not seen its schemas yet",
);

pub(super) fn not_found(order: Uuid) -> Problem {
    Problem::of(NOT_FOUND)
        .detail(format!("order {order} does not exist"))
        .with("order_id", order)
}

impl From<ProgressError> for Problem {
    fn from(error: ProgressError) -> Self {
        match error {
            ProgressError::Database(error) => error.into(),
            ProgressError::Outbox(oncebox::OutboxError::Database(error)) => error.into(),
            other if other.class() == ErrorClass::Outage => {
                tracing::warn!(error = %other, "order not taken: the schema registry is away");
                Problem::of(SCHEMAS_UNAVAILABLE).retry_after(5)
            }
            other => Problem::internal(other),
        }
    }
}
