//! What is worth a log line and a metric, each in one place.

use std::time::Duration;

use crate::domain::circuit::Position;
use crate::domain::operation::Operation;

/// The provider was asked to do something, or what became of it.
pub(crate) struct ProviderAsked {
    pub(crate) operation: Operation,
    pub(crate) look_up: bool,
    pub(crate) outcome: &'static str,
    pub(crate) duration: Duration,
}

impl telemetry::Happening for ProviderAsked {
    fn emit(self) {
        let operation = self.operation.name();
        let kind = if self.look_up { "look_up" } else { "call" };
        tracing::debug!(
            operation,
            kind,
            outcome = self.outcome,
            duration_ms = self.duration.as_millis() as u64,
            "payment provider asked"
        );
        metrics::counter!("oncebox_payment_provider_calls_total", "operation" => operation, "kind" => kind, "outcome" => self.outcome)
            .increment(1);
        metrics::histogram!("oncebox_payment_provider_call_duration_seconds", "operation" => operation, "kind" => kind)
            .record(self.duration.as_secs_f64());
    }
}

/// The circuit breaker opened, closed, or lets one call try.
pub(crate) struct CircuitMoved {
    pub(crate) from: Position,
    pub(crate) to: Position,
}

impl telemetry::Happening for CircuitMoved {
    fn emit(self) {
        let (from, to) = (self.from.name(), self.to.name());
        match self.to {
            Position::Open => tracing::warn!(
                from,
                to,
                "payment provider left alone after repeated failures"
            ),
            Position::HalfOpen => tracing::info!(from, to, "payment provider tried with one call"),
            Position::Closed => tracing::info!(from, to, "payment provider answers again"),
        }
        metrics::counter!("oncebox_payment_circuit_changes_total", "to" => to).increment(1);
        metrics::gauge!("oncebox_payment_circuit_open")
            .set(f64::from(u8::from(self.to == Position::Open)));
    }
}

/// How many payments wait to learn what the provider did.
pub(crate) struct UnknownCounted(pub(crate) i64);

impl telemetry::Happening for UnknownCounted {
    fn emit(self) {
        metrics::gauge!("oncebox_payment_unknown_payments").set(self.0 as f64);
    }
}

/// A round of housekeeping did not succeed.
pub(crate) struct HousekeepingFailed<'a> {
    pub(crate) task: &'static str,
    pub(crate) error: &'a sqlx::Error,
}

impl telemetry::Happening for HousekeepingFailed<'_> {
    fn emit(self) {
        tracing::warn!(task = self.task, error = %self.error, "housekeeping failed, the next round tries again");
        metrics::counter!("oncebox_payment_housekeeping_failures_total", "task" => self.task)
            .increment(1);
    }
}
