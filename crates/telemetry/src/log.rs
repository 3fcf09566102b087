//! Log lines: readable where somebody watches, one JSON object a line where a machine collects.

use std::{
    fmt,
    io::{self, IsTerminal},
};

use serde::{Deserialize, Serialize};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::{Format, Full, JsonFields, Writer},
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

use crate::{TelemetryError, context};

mod json;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text when standard error is a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Text; coloured when standard error is a terminal and `NO_COLOR` is unset or empty.
    Text,
    /// One JSON object a line.
    Json,
}

pub(crate) fn filter(directives: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder()
        .parse(directives)
        .map_err(|error| TelemetryError::FilterInvalid {
            filter: directives.to_owned(),
            reason: error.to_string(),
        })
}

/// Installs the subscriber; does nothing when the process has one.
pub(crate) fn start(
    service: &'static str,
    version: &'static str,
    format: LogFormat,
    filter: EnvFilter,
) {
    let terminal = io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_env_filter(filter);
    // An earlier subscriber stands: the first call of a process decides.
    let _ = if format == LogFormat::Text || format == LogFormat::Auto && terminal {
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        builder
            .with_ansi(colour)
            .event_format(TextLine(Format::default().with_ansi(colour)))
            .try_init()
    } else {
        builder
            .fmt_fields(JsonFields::new())
            .event_format(JsonLine { service, version })
            .try_init()
    };
}

/// The usual readable line, with the ids of the work it belongs to at its end.
struct TextLine(Format<Full>);

impl<S, N> FormatEvent<S, N> for TextLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::with_capacity(256);
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        writer.write_str(line.trim_end_matches('\n'))?;
        let mut ids = String::new();
        context::peek(|context| {
            ids = format!(
                " correlation_id={} trace_id={}",
                context.correlation,
                context.trace.trace_id()
            );
        });
        writeln!(writer, "{ids}")
    }
}

/// One flat object: time, level, message, the event's fields, its spans' fields, and the ids of its work.
struct JsonLine {
    service: &'static str,
    version: &'static str,
}

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::with_capacity(32);
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut line = json::Line::new();
        line.text("timestamp", &time);
        line.text("level", event.metadata().level().as_str());
        line.text("target", event.metadata().target());
        line.text("service", self.service);
        line.text("version", self.version);
        event.record(&mut line);
        for span in ctx.event_scope().into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                line.merge(&fields.fields);
            }
        }
        context::peek(|context| {
            line.text("correlation_id", &context.correlation);
            line.text("trace_id", &context.trace.trace_id());
            line.text("span_id", &context.trace.span_id());
        });
        writeln!(writer, "{}", line.finish())
    }
}
