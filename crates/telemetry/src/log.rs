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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::Context;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    #[test]
    fn a_json_line_is_flat_and_belongs_to_its_work() {
        let lines = Lines::default();
        let json = JsonLine {
            service: "order",
            version: "1.2.3",
        };
        let subscriber = tracing_subscriber::fmt()
            .with_writer(lines.clone())
            .fmt_fields(JsonFields::new())
            .event_format(json)
            .finish();
        let context = Context {
            correlation: "corr-1".into(),
            ..Context::root()
        };
        tracing::subscriber::with_default(subscriber, || {
            context::scope_sync(context.clone(), || {
                let span = tracing::info_span!("batch", topic = "order.events", rows = 1);
                let _entered = span.enter();
                tracing::warn!(rows = 3, duration_ms = 1.5, ok = true, error = %"a \"quoted\"\nline", "batch failed");
            });
        });
        let text = lines.text();
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&line["level"], &line["message"], &line["service"]),
            (&"WARN".into(), &"batch failed".into(), &"order".into())
        );
        assert_eq!(
            (&line["rows"], &line["duration_ms"], &line["ok"]),
            (&3.into(), &1.5.into(), &true.into())
        );
        assert_eq!(
            (&line["topic"], &line["error"]),
            (&"order.events".into(), &"a \"quoted\"\nline".into())
        );
        assert_eq!(line["correlation_id"], "corr-1");
        assert_eq!(line["trace_id"], context.trace.trace_id());
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
    }

    #[test]
    fn a_text_line_ends_with_the_ids_of_its_work() {
        let lines = Lines::default();
        let text = TextLine(Format::default().with_ansi(false));
        let subscriber = tracing_subscriber::fmt()
            .with_writer(lines.clone())
            .with_ansi(false)
            .event_format(text)
            .finish();
        let context = Context {
            correlation: "corr-1".into(),
            ..Context::root()
        };
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("started");
            context::scope_sync(context.clone(), || {
                tracing::info!(rows = 3, "batch published")
            });
        });
        let text = lines.text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("started"), "{text}");
        let ids = format!(
            "batch published rows=3 correlation_id=corr-1 trace_id={}",
            context.trace.trace_id()
        );
        assert!(lines[1].ends_with(&ids), "{text}");
    }
}
