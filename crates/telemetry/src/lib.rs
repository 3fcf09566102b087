//! Logs, metrics and trace context: one start-up call for every process.
//!
//! ```
//! # fn main() -> Result<(), telemetry::TelemetryError> {
//! let telemetry = telemetry::init("order", env!("CARGO_PKG_VERSION"), telemetry::LogFormat::Auto, "info")?;
//! tracing::info!(orders = 3, "orders loaded");
//! metrics::counter!("oncebox_orders_loaded_total").increment(3);
//! assert!(telemetry.render().contains("oncebox_orders_loaded_total 3"));
//! # Ok(())
//! # }
//! ```
//!
//! # Conventions
//! - A log message is a lower-case sentence; what varies goes into fields, with the unit in the field's name
//!   (`duration_ms`). A failure is logged once, where it is handled. Payloads and secrets are never logged.
//! - Metric names start with `oncebox_` and end with their unit (`_seconds`, `_bytes`, `_total`). Histograms whose name
//!   ends with `_seconds` or `_bytes` get buckets that fit; every other histogram gets buckets for counts.
//! - What is worth both a log line and a metric is a [`Happening`]: one struct, so that the two never disagree.
//! - Work done on behalf of a request or a record runs inside [`context::scope`]: its correlation id and trace id are
//!   then in every log line, and in the headers of every event appended to the outbox.

pub mod context;
mod error;
mod log;
mod metric;
mod process;
mod trace;

pub use context::Context;
pub use error::TelemetryError;
pub use log::LogFormat;
pub use trace::{InvalidTraceparent, TraceContext};

use metrics_exporter_prometheus::PrometheusHandle;

/// Something that happened and that both the log and the metrics tell about.
///
/// ```
/// struct BatchPublished { rows: u64 }
///
/// impl telemetry::Happening for BatchPublished {
///     fn emit(self) {
///         tracing::debug!(rows = self.rows, "batch published");
///         metrics::counter!("oncebox_relay_rows_published_total").increment(self.rows);
///     }
/// }
///
/// telemetry::emit(BatchPublished { rows: 500 });
/// ```
pub trait Happening {
    /// Writes the log line and moves the metrics. Must neither block nor panic.
    fn emit(self);
}

/// Emits one [`Happening`].
pub fn emit(happening: impl Happening) {
    happening.emit();
}

/// Handle to this process's telemetry; cheap to clone.
#[derive(Clone, Debug)]
pub struct Telemetry {
    handle: PrometheusHandle,
}

impl Telemetry {
    /// All metrics of this process in Prometheus text format, with its memory, processor time and open files.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = self.handle.render();
        process::append(&mut text);
        text
    }
}

/// Starts logging to standard error and recording metrics; returns the handle that renders them.
///
/// `log_filter` is a list of directives such as `info` or `info,order=debug,sqlx=warn`.
/// The first call of a process decides: later ones (several services or tests in one process) change nothing and
/// return a handle to the same metrics.
///
/// # Errors
/// [`TelemetryError::FilterInvalid`] when `log_filter` cannot be understood; nothing has been started then.
pub fn init(
    service: &'static str,
    version: &'static str,
    log_format: LogFormat,
    log_filter: &str,
) -> Result<Telemetry, TelemetryError> {
    let filter = log::filter(log_filter)?;
    let handle = metric::recorder();
    log::start(service, version, log_format, filter);
    metrics::gauge!("oncebox_build_info", "service" => service, "version" => version).set(1.0);
    Ok(Telemetry { handle })
}
