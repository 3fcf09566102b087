//! What is worth a log line and a metric, each in one place.

use crate::store::progress::{Decided, ProgressError};

/// An order was accepted.
pub(crate) struct OrderAccepted<'a> {
    pub(crate) order: uuid::Uuid,
    pub(crate) lines: usize,
    pub(crate) currency: &'a str,
}

impl telemetry::Happening for OrderAccepted<'_> {
    fn emit(self) {
        tracing::info!(order_id = %self.order, lines = self.lines, currency = self.currency, "order accepted");
        metrics::counter!("oncebox_order_accepted_total").increment(1);
    }
}

/// An order has its verdict. Counted when it is decided; should the transaction then fail, its repeat counts
/// again, so the table is the truth and this is the trend.
pub(crate) struct OrderDecided<'a>(pub(crate) &'a Decided);

impl telemetry::Happening for OrderDecided<'_> {
    fn emit(self) {
        let Decided {
            order,
            verdict,
            reason_code,
            took,
        } = self.0;
        let reason_code = reason_code.unwrap_or("none");
        let took = took.to_std().unwrap_or_default();
        tracing::info!(order_id = %order, verdict, reason_code, duration_ms = took.as_millis(), "order decided");
        metrics::counter!("oncebox_order_decided_total", "verdict" => *verdict, "reason_code" => reason_code)
            .increment(1);
        metrics::histogram!("oncebox_order_verdict_duration_seconds", "verdict" => *verdict)
            .record(took.as_secs_f64());
    }
}

/// A sweep for orders that wait too long did not succeed.
pub(crate) struct SweepFailed<'a>(pub(crate) &'a ProgressError);

impl telemetry::Happening for SweepFailed<'_> {
    fn emit(self) {
        tracing::warn!(error = %self.0, "sweep for waiting orders failed, the next one tries again");
        metrics::counter!("oncebox_order_sweep_failures_total").increment(1);
    }
}

/// Old idempotency keys are gone.
pub(crate) struct KeysForgotten {
    pub(crate) keys: u64,
}

impl telemetry::Happening for KeysForgotten {
    fn emit(self) {
        tracing::info!(keys = self.keys, "old idempotency keys forgotten");
        metrics::counter!("oncebox_order_idempotency_keys_forgotten_total").increment(self.keys);
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
        metrics::counter!("oncebox_order_housekeeping_failures_total", "task" => self.task)
            .increment(1);
    }
}
