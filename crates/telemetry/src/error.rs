//! What can go wrong when telemetry starts.

/// Telemetry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter is not a list of directives.
    #[error(
        "log_filter {filter:?} is not valid: {reason}; write for example \"info\" or \"info,order=debug,sqlx=warn\""
    )]
    FilterInvalid {
        /// The filter as it was given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl TelemetryError {
    /// Stable code; `docs/errors/<code>.md` explains it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::FilterInvalid { .. } => "telemetry.filter_invalid",
        }
    }
}
